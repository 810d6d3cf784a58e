"""A cluster of two nodes on this machine, one of which is killed while it works: `python cluster.py RUN OUT`.

Refreshes the run with one user a portion, and kills the second node as soon as both have worked. In a process of its
own, since Ray stays in the process that it was started in.
"""

import sys
import threading
import time
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from conrec import parallel
from conrec.deploy import refresh as job
from conrec.run import open_run


def main(run: Path, out: Path) -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    second = cluster.add_node(num_cpus=1)
    ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")
    job.USERS_AT_ONCE = 1
    parallel.use("ray")
    killed = threading.Event()

    def kill() -> None:
        while not (out / "begun").exists():
            time.sleep(0.05)
        cluster.remove_node(second, allow_graceful=False)
        killed.set()

    def slow_map(work, parts, title, **options):  # the same, and it takes a while
        def slow(part):
            time.sleep(0.1)
            return work(part)

        for n, found in enumerate(parallel.map_parts(slow, parts, title, **options)):
            if n == 4:
                (out / "begun").touch()
            yield found

    job.map_parts = slow_map
    threading.Thread(target=kill, daemon=True).start()
    print(job.refresh(run, open_run(run)[0], snapshots=out / "snapshots"))
    assert killed.wait(30), "the work was done before the node was killed"
    for _ in range(60):  # until the cluster has noticed, too
        if sum(node["Alive"] for node in ray.nodes()) == 1:
            break
        time.sleep(0.5)
    assert sum(node["Alive"] for node in ray.nodes()) == 1
    print("killed one of two nodes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
