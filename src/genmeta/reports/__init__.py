"""Reports: one self-contained HTML page with tables and pictures, and the same tables in a terminal."""

from genmeta.reports.blocks import Block, Picture, Report, Section, Table, Text
from genmeta.reports.calibration import calibration_curves
from genmeta.reports.curves import accuracy_curves
from genmeta.reports.detections import detection_picture
from genmeta.reports.episodes import task_picture
from genmeta.reports.few_shot import comparison_report
from genmeta.reports.page import render, write_report
from genmeta.reports.segmentations import segmentation_picture
from genmeta.reports.svg import figure_svg
from genmeta.reports.tables import accuracy_table, score_table, steps_table
from genmeta.reports.terminal import print_table
from genmeta.reports.weights import weights_picture

__all__ = [
    "Block",
    "Picture",
    "Report",
    "Section",
    "Table",
    "Text",
    "accuracy_curves",
    "accuracy_table",
    "calibration_curves",
    "comparison_report",
    "detection_picture",
    "figure_svg",
    "print_table",
    "render",
    "score_table",
    "segmentation_picture",
    "steps_table",
    "task_picture",
    "weights_picture",
    "write_report",
]
