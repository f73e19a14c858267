"""Which layer gets which precision."""

from __future__ import annotations

import dataclasses
from typing import Any, Dict, Iterable, List, Mapping, Optional, Union


@dataclasses.dataclass(frozen=True)
class Rule:
    """What holds for the nodes that all given conditions match; the first rule that says something decides.

    name: their names, with ``*`` and ``?``. op: their operator, "conv2d". layer: "first" or "last" of the layers with
    weights. Then: keep_float, they work on reals; weights, "s4" to "s8" or "float"; activations, the codes that they
    make, "u2" to "u8", "s2" to "s8" or "float".
    """

    name: Optional[str] = None
    op: Optional[str] = None
    layer: Optional[str] = None
    keep_float: bool = False
    weights: Optional[str] = None
    activations: Optional[str] = None

    def to_dict(self) -> Dict[str, Any]:
        """As in a policy's file."""
        keys = {"name": self.name, "op": self.op, "layer": self.layer, "weights": self.weights,
                "activations": self.activations, "float": True if self.keep_float else None}
        return {key: value for key, value in keys.items() if value is not None}


def to_rules(policy: Union[Rule, Mapping, Iterable]) -> List[Dict[str, Any]]:
    """A rule, or several, each a :class:`Rule` or a dict as in a policy's file."""
    if isinstance(policy, (Rule, Mapping)):
        policy = [policy]
    return [rule.to_dict() if isinstance(rule, Rule) else dict(rule) for rule in policy]
