"""`dartboard data`: read data sets of images into the cache, and tell of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click


@click.group("data")
def command() -> None:
    """Fetch a data set of images, or tell of one."""


@command.command(short_help="Read a data set once and keep it in the cache.")
@click.argument("name", metavar="NAME|PACK.npz")
@click.option("--from", "source", type=click.Path(path_type=Path), help="The archive or folder of a built-in data set.")
@click.option("--name", "register", metavar="NAME", help="Register a pack of images under this name.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON (see docs/images.md).")
def fetch(name: str, source: Path | None, register: str | None, as_json: bool) -> None:
    """Read a data set once and keep it in the cache, ready for every search.

    NAME is digits, cifar10, cifar100 or imagenet16-120. CIFAR is downloaded unless --from says where its binary archive
    or extracted folder is; ImageNet16's batch files are always your own. PACK.npz is a pack of images of your own.
    """
    from dartboard.benchmark.image_sources import fetch_images

    _tell(fetch_images(name, source=source, register=register).describe() | {"present": True}, as_json)


@command.command()
@click.argument("name", metavar="NAME|PACK.npz")
@click.option("--json", "as_json", is_flag=True, help="Print JSON (see docs/images.md).")
def info(name: str, as_json: bool) -> None:
    """Tell of a data set; nothing is downloaded."""
    from dartboard.benchmark.image_sources import available_images, load_images

    for images in available_images():
        if images.name == name and not images.present:
            _tell({"name": name, "present": False, "source": images.summary}, as_json)
            return
    _tell(load_images(name).describe() | {"present": True}, as_json)


def _tell(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    if not facts["present"]:
        click.echo(f"{facts['name']}: not fetched yet (`dartboard data fetch {facts['name']}`)\n  {facts['source']}")
        return
    per_class = facts["train_per_class"]
    channels = {key: ", ".join(f"{value:.4f}" for value in facts[key]) for key in ("mean", "std")}
    rows = {
        "source": facts["source"],
        "images": f"{facts['train_images']:,} for training, {facts['test_images']:,} for testing",
        "size": f"{facts['image_size']}x{facts['image_size']}, {facts['num_classes']} classes of "
        f"{min(per_class):,} to {max(per_class):,} training images",
        "augmentation": f"crop (padding {facts['crop_padding']}), {'mirrored' if facts['flip'] else 'never mirrored'}",
        "mean": channels["mean"],
        "std": channels["std"],
        "sha256": facts["sha256"],
    }
    click.echo(facts["name"])
    for title, value in rows.items():
        click.echo(f"  {title:<13} {value}")
