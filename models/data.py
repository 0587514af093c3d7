"""Training data that no scikit-learn loader returns as rows and labels."""

import re
from importlib import resources

import numpy as np

ZONES = 265
DESCRIPTIONS = {
    "breast_cancer": "breast_cancer.rst",
    "digits": "digits.rst",
    "faces": "lfw.rst",
    "iris": "iris.rst",
    "newsgroups": "twenty_newsgroups.rst",
    "wine": "wine_data.rst",
}


def generated_rides(count, seed):
    """Makes up taxi rides: pick-up zone, drop-off zone and miles, and the minutes that they took.

    A ride takes four minutes and 3.2 more per mile; each zone adds or saves its own; the rest is noise.
    """
    random = np.random.default_rng(seed)
    zones = random.integers(1, ZONES + 1, size=(count, 2))
    miles = np.clip(random.lognormal(mean=0.8, sigma=0.7, size=count), 0.3, 25.0).round(2)
    zone_minutes = random.normal(scale=1.5, size=(ZONES + 1, 2))
    noise = random.normal(scale=2.0, size=count)
    at_zones = zone_minutes[zones[:, 0], 0] + zone_minutes[zones[:, 1], 1]
    minutes = np.clip(4.0 + 3.2 * miles + at_zones + noise, 1.0, None)
    return np.column_stack([zones, miles]), minutes


def described_sentences():
    """The sentences of six data set descriptions inside scikit-learn, and what each is about."""
    sentences, labels = [], []
    for label, file in DESCRIPTIONS.items():
        description = (resources.files("sklearn.datasets.descr") / file).read_text("utf-8")
        found = sentences_of(description)
        sentences += found
        labels += [label] * len(found)
    return sentences, labels


def sentences_of(description):
    """Splits reStructuredText into sentences of at least five words, without markup, tables and code."""
    found = []
    for paragraph in re.split(r"\n\s*\n", description):
        if re.match(r"\s*(\.\. |=|>>>)", paragraph):
            continue
        for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z(])", " ".join(paragraph.split())):
            if len(re.findall("[A-Za-z]{3,}", sentence)) >= 5:
                found.append(sentence)
    return found
