"""A cluster of two nodes on this machine, one of which is killed while it works: `python -m tests.scale.cluster RUN`.

Predicts anew, and loses a node in the middle of it; then refreshes the run with a user a part, with a new second node,
and loses that. `RUN native` does the same without a cluster. In a process of its own, since Ray stays in the process
that it was started in.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from conrec import parallel
from conrec.decode import decoder
from conrec.deploy import refresh as job
from conrec.run import open_run, run_stages, stages_of

DONE = 4
"""Parts that are done before a node is killed: both have worked by then."""


class Losing:
    """`map_parts` of a module, in whose work of this title the second node of a cluster is lost."""

    def __init__(self, cluster: Any, module: Any, title: str) -> None:
        self.cluster, self.title, self.begun, self.killed = cluster, title, threading.Event(), threading.Event()
        self.second = cluster.add_node(num_cpus=1)
        module.map_parts = self

    def __call__(self, work: Any, parts: Any, title: str, **options: Any) -> Iterator[Any]:
        if title != self.title:
            yield from parallel.map_parts(work, parts, title, **options)
            return
        threading.Thread(target=self.kill, daemon=True).start()

        def slow(part: Any) -> Any:
            time.sleep(0.1)
            return work(part)

        for n, found in enumerate(parallel.map_parts(slow, parts, title, **options)):
            if n == DONE:
                self.begun.set()
            yield found
        assert self.killed.wait(30), "the work was done before the node was killed"

    def kill(self) -> None:
        self.begun.wait()
        self.cluster.remove_node(self.second, allow_graceful=False)
        self.killed.set()

    def check(self) -> None:
        """Wait until the cluster has noticed, too."""
        import ray

        for _ in range(60):
            if sum(node["Alive"] for node in ray.nodes()) == 1:
                break
            time.sleep(0.5)
        assert sum(node["Alive"] for node in ray.nodes()) == 1
        print(f"{self.title}: killed one of two nodes")


def main(run: Path, native: bool) -> None:
    decoder.USERS_AT_ONCE, job.USERS_AT_ONCE = 10, 1
    recipe, data, images = open_run(run)
    losing = []
    if not native:
        import ray
        from ray.cluster_utils import Cluster

        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        losing.append(Losing(cluster, decoder, "predict"))
        ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")
        parallel.use("ray")
    run_stages(stages_of(recipe), recipe, run, data, images, "predict", "predict", force=True)
    if not native:
        losing[0].check()
        losing.append(Losing(cluster, job, "users"))
    print(job.refresh(run, recipe, snapshots=run / "snapshots"))
    if not native:
        losing[1].check()


if __name__ == "__main__":
    main(Path(sys.argv[1]), "native" in sys.argv[2:])
