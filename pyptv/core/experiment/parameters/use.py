"""The parameters that a run uses: others are not checked."""

from __future__ import annotations

from dataclasses import dataclass

from pyptv.core.experiment.image_names import is_placeholder
from pyptv.core.experiment.parameters.attrdict import AttrDict
from pyptv.core.experiment.parameters.raw_values import is_set

SPLITTER_PLUGIN = "ext_sequence_splitter"
"""PyPTV's sequence plugin for split images, whose function is built in."""


@dataclass(frozen=True)
class Use:
    """The parameters that a run uses."""

    num_cams: int
    existing_target: bool
    splitter: bool
    masked: bool

    def items(self, section: str, key: str) -> int | None:
        """How many items of a list are used; None: all."""
        needed = {
            ("ptv", "img_cal"): self.num_cams,
            ("sequence", "base_name"): 1 if self.splitter else self.num_cams,
            ("targ_rec", "gvthres"): self.num_cams,
        }
        return needed.get((section, key))

    def ignores(self, section: str, key: str) -> bool:
        """Whether a value is not used."""
        if section == "targ_rec":
            return self.existing_target or key == "cr_sz"
        unused = {("ptv", "hp_flag"): True, ("ptv", "splitter_order"): not self.splitter}
        unused["masking", "mask_base_name"] = self.existing_target or not self.masked
        return unused.get((section, key), False)


def splits_by_plugin(tree: AttrDict) -> bool:
    """Whether images are split only by PyPTV's plugin: it is selected, and only one camera is named."""
    try:
        names, plugin = tree["sequence"]["base_name"], tree["plugins"]["selected_sequence"]
        others = all(name is None or is_placeholder(str(name)) for name in names[1:])
    except (KeyError, TypeError):
        return False
    return plugin == SPLITTER_PLUGIN and len(names) > 1 and others and not is_set(tree, "ptv", "splitter")
