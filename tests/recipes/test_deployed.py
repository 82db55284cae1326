"""Which encoder is used after training, by each paper: stated for every method, and there to be used."""

from __future__ import annotations

import pytest

from likewise import methods
from likewise.methods.pages import method_page
from tests.contract.gauntlet import make

TEACHER = {
    "dino": "the released weights and all scores are the teacher's, which is better throughout training (section 3)",
    "esvit": "as DINO",
    "hiermatch": "the average of the weights, by which MixMatch is evaluated (section 3)",
    "ncc": "clusters are found in the teacher's embeddings, and scored there (sections 3 and 4)",
}
STUDENT = {
    "ascl": "MoCo's query encoder",
    "barlow_twins": "the one network",
    "bct": "the new encoder",
    "bgaug": "that of the method it is built around",
    "byol": "the online network; the target is thrown away (section 3)",
    "clipdistill": "the image encoder that is trained; the average only makes soft targets (section 3)",
    "cmsf": "as MSF",
    "cmsf_semi": "as MSF",
    "compress": "the small network; the slow copy only writes its bank (section 3)",
    "cvrl": "the one network before its head (section 3)",
    "disco": "the student's encoder (section 3)",
    "dyndistill": "the student without its classifier (section 3)",
    "flowsim": "the one network",
    "fnc": "SimCLR's network; the momentum copy only writes the memory (section 3)",
    "gcd": "the one network",
    "hsakd": "the student without its branches (section 3)",
    "ifnd": "MoCo's query encoder",
    "interclr": "MoCo's query encoder",
    "isd": "the student without projector and predictor; the teacher is as good at a low rate (section 4)",
    "mcl": "any one of the networks (section 3): the first",
    "mcl_supervised": "any one of the networks (section 3): the first",
    "mira": "the encoder that is trained; the average only makes targets (section 3)",
    "mochi": "MoCo's query encoder",
    "moco_v2": "the query encoder",
    "modist": "the query network of the frames; that of the flow only teaches (section 3)",
    "msf": "the student, which the paper evaluates (section 4)",
    "multimodal": "the image encoder that is trained; texts are not needed afterwards (section 4)",
    "nccl": "the new encoder",
    "nnclr": "the one network",
    "nncsl": "the one network; the frozen one is of the task before",
    "objaware": "that of the method it is built around",
    "paws": "the one network",
    "promptcal": "the student with its prompts",
    "ressl": "the student (section 4)",
    "s2bnn": "the binary network that is trained",
    "seed_kd": "the small network without its head (section 3)",
    "setsim": "MoCo's query encoder",
    "simclr": "the one network before its projection head (section 4)",
    "simreg": "the small network without its regressor (section 3)",
    "swav": "the one network",
    "trex": "the encoder before the projector; the average only writes the memory (section 3)",
    "triplet": "the online network, as BYOL",
    "ultrasound": "the encoder of frames",
    "uml": "the one network",
    "usl_t": "the one network",
    "xmoco": "MoCo's query encoder",
}
STATED = {**dict.fromkeys(STUDENT, "student"), **dict.fromkeys(TEACHER, "teacher")}


def test_it_is_stated_for_every_method() -> None:
    own = {name for name in methods.names() if methods.find(name).__module__.startswith("likewise.")}
    assert set(STATED) == own


@pytest.mark.parametrize("name", STATED)
def test_the_published_encoder_is_deployed_and_the_page_says_which(name: str) -> None:
    method = methods.find(name)
    assert method.card.deploy == STATED[name]
    assert STATED[name] in make(name).encoders()
    row = next(line for line in method_page(name, method).splitlines() if line.startswith("| weights to use"))
    assert row.removeprefix("| weights to use afterwards | ").startswith(f"{STATED[name]}: ")
