"""What was tried for the networks of the stream and not kept: the last section of their studies."""

from __future__ import annotations

from collections.abc import Mapping

from models.reports import Section

#: What was tried, and what came of it. Shares are of test stars of CRTS-S: accuracy / recall
#: averaged over the classes, %; logarithms natural.
PERIODIC: Mapping[str, str] = {
    "Seven tenths of the loss, not half, what teachers say": "88.0 / 82.8 of whole curves instead "
    "of 87.8 / 82.6, but too unsure of what is 40 to 75 % sure: log loss 0.330 instead of 0.329, "
    "calibration error 1.3 instead of 1.0. With it were tried, and are compared: four teachers "
    "instead of two (87.8 / 82.3, log loss 0.331, error 1.1); another seed with the same examples "
    "(87.9 / 82.1, 0.330, 1.4; after 5 to 100 points within 0.6); the mean of three such networks, "
    "at three times the price (88.0 / 82.8, 0.329, 1.2).",
    "More about where a star stands": "third powers, or on which side of the line to the centre of "
    "the Galaxy: learned from the south alone, worse in the north than nothing (log loss of the "
    "place alone 1.90 to 1.94; of the shares of the classes 1.838; as it is now 1.784).",
    "Where stars of ZTF stand": "the same weight as for Catalina's makes nothing better: of a "
    "simulated sky whose stars were where star counts have them (Juric et al. 2008) 81.8 % were "
    "right with it and without, and of one of young objects 56.7 instead of 57.2 %. Stars of other "
    "magnitudes are at other distances: there a place said half as much as to Catalina.",
    "Twice as many epochs": "without more copies the validation loss rises from the 45th on.",
    "Weight decay of 0.2": "as with 0.1.",
    "Training in bfloat16": "faster where the processor knows it; whole curves no better.",
    "Smoothed labels": "whole curves too unsure near 1 and too sure below, as no temperature "
    "mends: log loss 0.339 instead of 0.334.",
    "Another calibration": "where the error of whole curves was 1.3 % (perfect probabilities of so "
    "many stars show 0.85 +- 0.19): with the northern validation stars as well 1.3, with these "
    "alone 1.4, with priors of 0.02 to 0.5 on factors and shifts 1.2 to 1.4, without any 1.7; on "
    "the test stars themselves, 1.2.",
    "What the best period leaves, by season and by night": "of stars that may as well be rotating "
    "as of type EW (10 to 50 % said) the area under the ROC curve of the variance between seasons, "
    "between nights, and of the amplitude from season to season is 0.46 to 0.54: nothing that the "
    "network does not know.",
    "Last layers for ZTF and LSST": "learned from stars made alike to their alerts: six points "
    "better after 10 and 20 points on others made so, worse on a simulated sky.",
    "Six draws of nights for LSST-like stars instead of one": "calibration as before.",
    "A factor that grows with the number of bands that agree": "LSST-like, after 10 points: log "
    "loss 1.277 instead of 1.281, calibration error 5.1 instead of 5.5.",
}
#: The same, of supernovae and gates; "skies" are simulated ones of seed 51.
TRANSIENTS: Mapping[str, str] = {
    "Labels that are not smoothed": "better at home (calibration error of SNPCC 0.7 instead of "
    "1.5), worse elsewhere: MALLORN 58.3 % right instead of 63.9, skies 0.3 to 0.5 points fewer.",
    "Labels smoothed by 0.05 and 0.1, not 0.02": "MALLORN 66.8 and 68.4 %; but SNPCC's calibration "
    "error 15 days after the first detection 2.4 and 2.8 instead of 1.9.",
    "The brightest twelfth of SNPCC made nearer at its own signal to noise": "bright type Ia are "
    "called IIn: their tails are noise there.",
    "Magnitudes brighter than training's taken for its brightest": "the same.",
    "Curves that lose their limits": "type Ia of skies found 81 % instead of 67, but MALLORN 61 % "
    "right instead of 64, its calibration error 19 instead of 12.",
}


def section(tried: Mapping[str, str]) -> Section:
    """As a section of a report."""
    return Section("Tried, and not kept", [f"{what}: {came}" for what, came in tried.items()])
