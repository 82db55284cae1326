"""What each method claims, as data: for each the trend that shows, at the smallest scale, that it works as claimed.

A claim names its arms (keywords of `likewise.train`), the score that decides, and the arm that must win. Arms of a
claim differ in what the claim is about and in nothing else: `BUDGET`, draw and seeds are the same. `benchmarks.claims`
runs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Keywords = Mapping[str, Any]

BALANCED = "perclass:1200"
"""12,000 images of CIFAR-10; the seed draws others."""
UNBALANCED = "isd:2"
"""Two classes whole, eight with 385 images each: 13,080 images (ISD, arXiv 2012.09259)."""
LONG_TAIL = "longtail:100"
"""12,406 images, 5,000 of the largest class and 50 of the smallest."""
BUDGET: Keywords = {"encoder": "resnet18", "width": 16, "image_size": 16, "epochs": 4, "batch_size": 128}
"""Of every arm: a minute on two cores. What an arm says itself comes before this."""
VIEWS: Keywords = {"first_size": 0.625, "last_size": 1.0}
"""Of every arm as well: views that grow to the whole side, as by default when the stored cells were trained."""
_SGD: Keywords = {"optimiser": "sgd", "learning_rate": 0.06}
_STUDENT: Keywords = {"optimiser": "sgd", "learning_rate": 0.03, "weight_decay": 1e-4}
SETTINGS: Mapping[str, Keywords] = {
    "compress": _STUDENT,
    "seed_kd": _STUDENT,
    "isd": {**_SGD, "queue_size": 512, "temperature_student": 0.2},
    "simclr": _SGD,
}
"""Of every arm of a method, likewise: its defaults when the stored cells were trained, and the update rule of those
that it is compared with."""
WHOLE: Keywords = {"image_size": 32}
"""For the headline, which is about images as they are."""
CUT: Keywords = {"image_size": 24}
"""For images of which small crops are cut."""
HALF_A_POINT = 0.005
"""How far "not lower" may be below."""

SCORES = ("1-NN", "20-NN", "1-NN rare", "20-NN rare", "1-NN rare less all", "clustering", "NMI")
"""Scores of cells on the test images, by the whole balanced training set; those with `rare` on `isd` draws alone."""
METRIC = "metric "
"""Before the name of a scalar of metrics.jsonl, which is averaged over the last quarter of the training."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One trend."""

    method: str
    """Whose it is."""
    text: str
    """What must be seen, in a sentence."""
    arms: Mapping[str, Keywords]
    """Name -> keywords of `likewise.train`. A `teacher` given as keywords is trained first, on the same draw."""
    better: str
    """The arm that must be ahead of every other."""
    score: str = "20-NN"
    """One of `SCORES`, or `METRIC` and a name."""
    lower: bool = False
    """Whether a lower score is the better one."""
    slack: float = 0.0
    """How far the arm may stay behind: above 0 the claim is "not worse"."""
    subset: str = BALANCED
    """Draw that is trained on; its seed is the seed of the run."""
    seeds: int = 3
    """Runs of each arm, from seed 0."""


MOCO: Keywords = {"method": "moco_v2"}
"""MoCo v2 with the settings that those which are built upon it share."""
SPLIT: Keywords = {"method": "moco_v2", "split_batch_norm": 8, "width": 8, "epochs": 3}
LARGER: Keywords = {"method": "moco_v2", "width": 32, "epochs": 6}
"""Twice as wide and half as long again as its students: the frozen teacher of those that need one."""
SAME_CROPS: Keywords = {"large_scale": (0.2, 1.0), "small_crops": 0}
ISD_AND_MOCO: Mapping[str, Keywords] = {
    "ISD": {"method": "isd", "learning_rate": 0.06, **WHOLE},
    "MoCo v2": {"method": "moco_v2", "learning_rate": 0.06, **WHOLE},
}
CONSISTENCY: Mapping[str, Keywords] = {
    "XMoCo": {"method": "xmoco"},
    "without its terms": {"method": "xmoco", "weight_cross": 0.0, "weight_uniform": 0.0},
}
WITHOUT_EITHER: Mapping[str, Keywords] = {
    "both": {"method": "dino", "small_crops": 0},
    "not centred": {"method": "dino", "small_crops": 0, "centre_momentum": 1.0},
    "not sharpened": {"method": "dino", "small_crops": 0, "temperature_teacher": 0.1, "warmup_temperature": 0.1},
}

ELSEWHERE: Mapping[str, str] = {
    **dict.fromkeys(("paws", "nncsl", "hiermatch", "dyndistill", "uml", "usl_t"), "few_labels"),
    **dict.fromkeys(("disco", "hsakd", "s2bnn", "simreg", "trex"), "distilling"),
    **dict.fromkeys(("gcd", "promptcal"), "discovery"),
    **dict.fromkeys(("bct", "nccl"), "upgrade"),
    **dict.fromkeys(("bgaug", "esvit", "objaware"), "where"),
    **dict.fromkeys(("cvrl", "flowsim", "modist"), "motion"),
    **dict.fromkeys(("clipdistill", "multimodal", "ultrasound"), "words"),
}
"""Methods that need other data or scores than these: the module of this package that measures what they are for."""

CLAIMS: tuple[Claim, ...] = (
    Claim(
        method="isd",
        text="Pre-trained on unbalanced data, ISD is ahead of MoCo v2 over all classes.",
        arms=ISD_AND_MOCO,
        better="ISD",
        score="1-NN",
        subset=UNBALANCED,
        seeds=5,
    ),
    Claim(
        method="isd",
        text="The same over the eight rare classes.",
        arms=ISD_AND_MOCO,
        better="ISD",
        score="1-NN rare",
        subset=UNBALANCED,
        seeds=5,
    ),
    Claim(
        method="isd",
        text="And the gain over the rare classes is larger than that over all: what rare classes have more than all.",
        arms=ISD_AND_MOCO,
        better="ISD",
        score="1-NN rare less all",
        subset=UNBALANCED,
        seeds=5,
    ),
    Claim(
        method="ascl",
        text="Adaptive soft neighbours are ahead of one positive (MoCo) and not lower than as many hard neighbours.",
        arms={
            "adaptive": {"method": "ascl", "target": "ascl"},
            "hard": {"method": "ascl", "target": "hard"},
            "MoCo": {"method": "ascl", "target": "normal"},
        },
        better="adaptive",
    ),
    Claim(
        method="barlow_twins",
        text="A wider embedding is better at the same budget. (The loss grows with the width and is divided by it.)",
        arms={
            "1024": {"method": "barlow_twins", "embedding": 1024, "loss_scale": 0.003},
            "64": {"method": "barlow_twins", "embedding": 64, "loss_scale": 0.048},
        },
        better="1024",
    ),
    Claim(
        method="byol",
        text="A target that follows the student teaches more than a fixed random one. (That it collapses without "
        "predictor cannot be shown: there is always one.)",
        arms={
            "m = 0.9": {"method": "byol", "momentum": 0.9},
            "m = 1": {"method": "byol", "momentum": 1.0},
        },
        better="m = 0.9",
    ),
    Claim(
        method="cmsf",
        text="Neighbours constrained by a second queue are not worse than MSF's.",
        arms={
            "CMSF, 2Q": {"method": "cmsf", "constraint": "2q"},
            "MSF": {"method": "msf", "topk": 5, "queue_size": 1024},
        },
        better="CMSF, 2Q",
        score="1-NN",
        slack=HALF_A_POINT,
    ),
    Claim(
        method="cmsf_semi",
        text="With a tenth of the labels it is ahead of MSF, which has none. (The bank of the neighbours has all "
        "labels for both.)",
        arms={
            "10 % of the labels": {"method": "cmsf_semi", "label_share": 0.1, "queue_size": 1024, "momentum": 0.9},
            "MSF": {"method": "msf", "topk": 5, "queue_size": 1024},
        },
        better="10 % of the labels",
        score="1-NN",
    ),
    Claim(
        method="compress",
        text="A student of a larger trained teacher is ahead of the same encoder trained alone.",
        arms={"CompRess": {"method": "compress", "teacher": LARGER}, "MoCo v2 alone": MOCO},
        better="CompRess",
        score="1-NN",
    ),
    Claim(
        method="dino",
        text="Centring and sharpening are both needed: without either the features are worse.",
        arms=WITHOUT_EITHER,
        better="both",
    ),
    Claim(
        method="dino",
        text="Without either it collapses: student and teacher agree on everything (their divergence falls to 0 nats).",
        arms=WITHOUT_EITHER,
        better="both",
        score=f"{METRIC}kl",
    ),
    Claim(
        method="fnc",
        text="Taking false negatives for positives is better than contrast with as many views that finds none. (Its "
        "specification names no trend of its own; this is the paper's comparison with SimCLR.)",
        arms={
            "attraction": {"method": "fnc", "support": 1},
            "none found": {"method": "fnc", "support": 1, "threshold": 1.0},
        },
        better="attraction",
    ),
    Claim(
        method="ifnd",
        text="Leaving false negatives out is not worse than MoCo v2. (The gap is said to grow with the number of "
        "classes; here are ten.)",
        arms={"IFND": {"method": "ifnd"}, "MoCo v2": MOCO},
        better="IFND",
        slack=HALF_A_POINT,
    ),
    Claim(
        method="interclr",
        text="Contrast between images of a pseudo-class improves on MoCo v2, and a margin that makes the positive "
        "easier on one that makes it harder.",
        arms={
            "margin -0.5": {"method": "interclr"},
            "margin 0.5": {"method": "interclr", "inter_margin": 0.5},
            "MoCo v2": MOCO,
        },
        better="margin -0.5",
    ),
    Claim(
        method="mcl",
        text="One of two networks that learn together is not worse than one trained alone.",
        arms={"MCL": {"method": "mcl"}, "MoCo v2 alone": MOCO},
        better="MCL",
        slack=HALF_A_POINT,
    ),
    Claim(
        method="mcl_supervised",
        text="With labels, one of two networks that learn together is ahead of one that only classifies.",
        arms={
            "MCL": {"method": "mcl_supervised"},
            "classification alone": {
                "method": "mcl_supervised",
                "vcl_weight": 0.0,
                "soft_vcl_weight": 0.0,
                "icl_weight": 0.0,
                "soft_icl_weight": 0.0,
            },
        },
        better="MCL",
    ),
    Claim(
        method="mira",
        text="On long-tailed data clusters that may differ in size are not worse than SwAV's equal ones, on the same "
        "crops.",
        arms={"MIRA": {"method": "mira", **SAME_CROPS}, "SwAV": {"method": "swav", **SAME_CROPS}},
        better="MIRA",
        slack=HALF_A_POINT,
        subset=LONG_TAIL,
    ),
    Claim(
        method="mochi",
        text="Mixed hard negatives do not make it worse than MoCo v2.",
        arms={"MoCHi": {"method": "mochi"}, "MoCo v2": MOCO},
        better="MoCHi",
        slack=HALF_A_POINT,
    ),
    Claim(
        method="moco_v2",
        text="A key encoder that moves slowly is needed: at m = 0 the features are worse.",
        arms={
            "m = 0.99": MOCO,
            "m = 0": {"method": "moco_v2", "momentum": 0.0},
        },
        better="m = 0.99",
    ),
    Claim(
        method="moco_v2",
        text="With a batch norm of eight groups keys whose images are permuted are better than keys that share the "
        "statistics of their queries' group.",
        arms={"permuted": {**SPLIT, "shuffle": True}, "not permuted": {**SPLIT, "shuffle": False}},
        better="permuted",
        seeds=2,
    ),
    Claim(
        method="msf",
        text="The pull to five neighbours is better than to the image alone (k = 1, which is BYOL).",
        arms={"k = 5": {"method": "msf", "topk": 5}, "k = 1": {"method": "msf", "topk": 1}},
        better="k = 5",
        score="1-NN",
    ),
    Claim(
        method="ncc",
        text="k-means of its features finds the classes better than k-means of BYOL's.",
        arms={
            "ProPos": {"method": "ncc", "clusters": 10, "refresh_every": 1},
            "BYOL": {"method": "byol", "symmetric": True, "momentum_schedule": "cosine", "update": "after"},
        },
        better="ProPos",
        score="clustering",
    ),
    Claim(
        method="nnclr",
        text="Without changes of colour it is ahead of SimCLR. (SimCLR keeps grey and blur, for which it has no "
        "setting; NNCLR has crops and flips alone.)",
        arms={
            "NNCLR": {"method": "nnclr", "views": "crops", "crop_scale": (0.2, 1.0)},
            "SimCLR": {"method": "simclr", "jitter_strength": 0.0},
        },
        better="NNCLR",
    ),
    Claim(
        method="ressl",
        text="A weak view for the teacher is better than a strong one, and both parts together than MoCo v2.",
        arms={
            "weak/strong": {"method": "ressl"},
            "strong/strong": {"method": "ressl", "views": "strong/strong"},
            "MoCo v2": MOCO,
        },
        better="weak/strong",
    ),
    Claim(
        method="seed_kd",
        text="A student of a larger trained teacher is ahead of the same encoder trained alone.",
        arms={"SEED": {"method": "seed_kd", "teacher": LARGER}, "MoCo v2 alone": MOCO},
        better="SEED",
        score="1-NN",
    ),
    Claim(
        method="setsim",
        text="Sets of cells are at least as good as each cell's most similar one (DenseCL). (The specification names a "
        "trend for cells of mosaics, which no score here measures.)",
        arms={"sets": {"method": "setsim"}, "DenseCL": {"method": "setsim", "sets": "nearest"}},
        better="sets",
    ),
    Claim(
        method="simclr",
        text="Changes of colour are needed beside crops. (No specification names a trend; this is the paper's.)",
        arms={
            "with colour": {"method": "simclr", "jitter_strength": 0.5},
            "without": {"method": "simclr", "jitter_strength": 0.0},
        },
        better="with colour",
    ),
    Claim(
        method="swav",
        text="Small crops improve it at the same number of epochs, at a higher cost.",
        arms={
            "2 small crops": {"method": "swav", "small_crops": 2, **CUT},
            "none": {"method": "swav", "small_crops": 0, **CUT},
        },
        better="2 small crops",
    ),
    Claim(
        method="triplet",
        text="Negatives of ranks 2 to 10 are better than the hardest alone, and than the mean of all.",
        arms={
            "ranks 2 to 10": {"method": "triplet", "negatives": "band", "rank_low": 2, "rank_high": 10},
            "rank 1": {"method": "triplet", "negatives": "band", "rank_low": 1, "rank_high": 1},
            "all": {"method": "triplet", "negatives": "all"},
        },
        better="ranks 2 to 10",
    ),
    Claim(
        method="xmoco",
        text="Similarities of two images depend less on the view than in plain MoCo (mean of (Sij - Sji)^2, on the "
        "training images).",
        arms=CONSISTENCY,
        better="XMoCo",
        score=f"{METRIC}consistency",
        lower=True,
    ),
    Claim(
        method="xmoco",
        text="And nearest neighbours are not worse.",
        arms=CONSISTENCY,
        better="XMoCo",
        slack=HALF_A_POINT,
    ),
)
