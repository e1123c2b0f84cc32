"""Records how AblationBench counts: python record_ablationbench_scores.py CLONE > ablationbench_scores.json

CLONE is a checkout of github.com/ai-scientist-bench/ablation-bench (recorded at fabe61e, Python 3.11, numpy 2.4.6,
scikit-learn 1.9.1). Its own functions are run on random cases; what they import besides is stubbed.
"""

import json
import random
import sys
import textwrap
import types
import warnings
from pathlib import Path

from sklearn.metrics import f1_score, precision_score, recall_score

warnings.filterwarnings("ignore")  # of scores that are 0 of 0
JUDGE = Path(sys.argv[1]) / "ablation_bench" / "judge"
rng = random.Random(0)


class Prediction:
    def __init__(self, name_in_paper, name_in_plan):
        self.name_in_paper, self.name_in_plan = name_in_paper, name_in_plan
        self.label = name_in_plan is not None


def judge_class():
    stubs = {"datasets": ["Dataset"], "ablation_bench": [], "ablation_bench.types": ["EvaluationResult"]}
    for name, members in stubs.items():
        sys.modules[name] = types.ModuleType(name)
        for member in members:
            setattr(sys.modules[name], member, object)
    sys.modules["ablation_bench.types"].AblationSuggestionPred = Prediction
    namespace = {"__name__": "abstract"}
    exec((JUDGE / "abstract.py").read_text(), namespace)
    return namespace["Judge"]


def case(true_labels, pred_labels, ndcg_score, labels, **given):
    scores = {"precision": precision_score, "recall": recall_score, "f1_score": f1_score}
    expected = {name: float(score(true_labels, pred_labels)) for name, score in scores.items()}
    expected |= {"true_labels": true_labels, "pred_labels": pred_labels, "ndcg_score": ndcg_score}
    return given | {"labels": "\n".join(map(json.dumps, labels)), "expected": expected}


def against_ablations(judge):
    truths = [f"truth {index}" for index in range(rng.randint(1, 6))]
    plan = [f"entry {index}" for index in range(rng.randint(0, 6))]
    names = [*plan, "unknown"]
    labels = []
    for truth in [*truths, "stranger"]:
        kind = rng.choice(["absent", "null", "null", "one", "one", "one", "many", "many", "twice"])
        one, many = rng.choice(names), rng.sample(names, rng.randint(0, min(3, len(names))))
        found = {"absent": [], "null": [None], "one": [one], "many": [many], "twice": [many, one]}[kind]
        labels += [{"name_in_paper": truth, "name_in_plan": names} for names in found]
    top_k = rng.choice([None, None, 1, 2, 3])
    entries = plan[:top_k]
    both = judge._get_labels([Prediction(**label) for label in labels], truths, entries)
    ndcg = float(judge._ndcg_score(*both, k=min(len(entries), len(truths))))
    return case(*both, ndcg, labels, truths=truths, plan=plan, top_k=top_k)


def against_reviews(counting):
    plan = [f"entry {index}" for index in range(rng.randint(1, 6))]
    labels = [{"name_in_plan": name, "appears_in_review": rng.random() < 0.5} for name in plan]
    top_k, suggestions = rng.choice([None, None, 1, 2, 3]), rng.randint(1, 4)
    scope = {
        "preds": [types.SimpleNamespace(**label) for label in labels[:top_k]],
        "task": {"num_ablation_suggestions": suggestions},
    }
    exec(counting, scope)
    return case(scope["true_labels"], scope["pred_labels"], None, labels, suggestions=suggestions, plan=plan, top_k=top_k)


judge = judge_class()
source = (JUDGE / "simple_lm.py").read_text()
begin = source.index('        num_ablations = task["num_ablation_suggestions"]')
counting = textwrap.dedent(source[begin : source.index('        task["true_labels"]', begin)])
cases = [against_ablations(judge) for _ in range(20)] + [against_reviews(counting) for _ in range(8)]
print("[\n" + ",\n".join(map(json.dumps, cases)) + "\n]")
