from conrec.errors import need

need("serve")
