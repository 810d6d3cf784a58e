from conrec.errors import need

need("train")
