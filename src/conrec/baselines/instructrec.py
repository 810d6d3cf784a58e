"""InstructRec (Zhang et al. 2023, "Recommendation as Instruction Following: A Large Language Model Empowered
Recommendation Approach", arXiv 2305.07001).

Recommendation as an instruction in words: the history as titles, the candidates as titles, "which one will be disliked
next?"; candidates are ranked by how likely their titles are as its answer. They are listed in the order of their item
rows, so the list says nothing of which one is true. docs/baselines.md says how it departs from the paper.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from conrec.baselines.titles import Answers, Question, TitleRanker, ask
from conrec.data.instances import Instances
from conrec.features.sizes import Inputs
from conrec.lm.policy import Policy

CANDIDATES = "\nOne of: "


class InstructRec(TitleRanker):
    """The likelihood of each candidate's title behind history and list; options as in `TitleRanker`."""

    name = "instructrec"
    distractors = 19

    def __init__(
        self, inputs: Inputs = "dislikes", *, objective: Literal["choice", "title"] = "choice", **options: Any
    ) -> None:
        """`objective`: what is made likely: the right title among the candidates' (a softmax over their
        likelihoods), or the right title among all texts (the paper's)."""
        super().__init__(inputs, **options)
        self.objective = objective

    def question(self, instances: Instances, n: int, rows: list[int]) -> Question:
        """The history, the candidates in the order of their rows, then the title of each item as an answer."""
        histories = self.histories
        listed = self.vocabulary.text(CANDIDATES) + histories.listed(sorted(rows))
        prompt = histories.of(instances, n) + listed + histories.next
        return Question(prompt, [[*histories.titles[row], self.vocabulary.end] for row in rows])

    def option_scores(self, policy: Policy, answers: Answers) -> Tensor:
        """Log-likelihood of each title with its end, float [N]."""
        kept = answers.mask
        logprobs = policy.head(answers.before[kept]).log_softmax(-1).gather(1, answers.tokens[kept][:, None])[:, 0]
        owner = kept.nonzero()[:, 0]
        return logprobs.new_zeros(len(kept)).index_add(0, owner, logprobs)

    def loss(self, policy: Policy, questions: list[Question]) -> Tensor:
        """Mean over questions of the negative log-likelihood of the first option, by `objective`."""
        pad = self.vocabulary.pad
        if self.objective == "title":
            asked = [Question(question.prompt, question.options[:1]) for question in questions]
            answers = ask(policy, asked, pad)
            return -self.option_scores(policy, answers).sum() / answers.mask.sum()
        scores = self.option_scores(policy, ask(policy, questions, pad))
        sets = scores.split([len(question.options) for question in questions])
        return -torch.stack([one.log_softmax(0)[0] for one in sets]).mean()
