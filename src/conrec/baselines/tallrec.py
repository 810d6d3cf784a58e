"""TALLRec (Bao et al. 2023, "TALLRec: An Effective and Efficient Tuning Framework to Align Large Language Model with
Recommendation", RecSys).

A language model reads the titles that a user preferred and did not prefer, then a target's title, and answers yes or
no; a target's score is how much likelier yes is than no. Here the question is turned round: will the user *dislike* it?
docs/baselines.md says how it departs from the paper.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from conrec.baselines.titles import Answers, Question, TitleRanker, ask
from conrec.data.instances import Instances
from conrec.lm.policy import Policy

YES, NO = "Yes", "No"


class TallRec(TitleRanker):
    """Yes or no behind each candidate's title; options as in `TitleRanker`."""

    name = "tallrec"
    distractors = 4

    def question(self, instances: Instances, n: int, rows: list[int]) -> Question:
        """The history, then `Will dislike: TITLE?` for each item."""
        histories = self.histories
        mark = self.vocabulary.text("?")
        prompt = histories.of(instances, n) + histories.next
        return Question(prompt, [[*histories.titles[row], *mark] for row in rows])

    def option_scores(self, policy: Policy, answers: Answers) -> Tensor:
        """Logit of yes less logit of no, float [N]."""
        yes, no = (self.vocabulary.text(word)[0] for word in (YES, NO))
        logits = policy.head(answers.after)
        return logits[:, yes] - logits[:, no]

    def loss(self, policy: Policy, questions: list[Question]) -> Tensor:
        """Mean over questions: yes for the first option, no for the others, both answers weighing the same."""
        scores = self.option_scores(policy, ask(policy, questions, self.vocabulary.pad))
        sets = scores.split([len(question.options) for question in questions])
        return torch.stack([F.softplus(-own[0]) + F.softplus(own[1:]).mean() for own in sets]).mean()
