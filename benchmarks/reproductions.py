"""What reproduces the papers: every command of docs/reproduce.md, what it trains, what was published, and how it is rehearsed.

The only list: the page's blocks and tables are made from it (`python -m benchmarks.reproduce page`), `benchmarks.gpu` runs its
first settings, and `python -m benchmarks.reproduce rehearse` runs all of it at small size.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from benchmarks.hours import Passes, given, gnas_search, nse_finals, nse_search, trgnas_search

GNAS_PAPER = "arXiv 2502.03553"
TRGNAS_PAPER = "CAIP 2023"
NSE_PAPER = "arXiv 2011.10904, abstract"
NAL_PAPER = "arXiv 2204.11838, abstract"
ONCE = {"--seeds": "1"}
SMALL_CHAINS = {"--min-depth": "6", "--max-depth": "7", "--min-width": "8", "--max-width": "10"}
SMALLER_CHAINS = SMALL_CHAINS | {"--min-depth": "4", "--max-depth": "5"}  # of all but the first setting
SMALL_ROUNDS = {"--rounds": "2", "": "nse.toml"}
# Files of rules beside the flags. GNAS: epochs that are too few for a handful of images get more. NSE: two rounds of one epoch
# each, a handful of networks.
GNAS_RULES = """[rules]
first_epochs = 20
micro_epochs = 20
"""
NSE_RULES = """epoch_scale = 0.1
[rules]
supernet_epochs = 1
networks = 3
cheap_networks = 1
finals = 1
calibration_batches = 1
"""
FILES = {"gnas.toml": GNAS_RULES, "nse.toml": NSE_RULES}  # beside the rehearsals


@dataclass(frozen=True)
class Command:
    """`text`: as it is typed, from `edgenas` on. `work`: what it trains on a GPU, None where that is nothing. `rehearsal`: flags
    of its rehearsal, in place of its own or beside them; under "" a further argument."""

    name: str
    what: str
    text: str
    work: Callable[[], list[Passes]] | None = None
    rehearsal: Mapping[str, str] = field(default_factory=dict)

    @property
    def arguments(self) -> list[str]:
        """Behind `edgenas`."""
        return shlex.split(self.text.replace("\\\n", " "))[1:]

    def rehearsed(self) -> list[str]:
        """The arguments of its rehearsal."""
        return with_flags(self.arguments, self.rehearsal)


@dataclass(frozen=True)
class Published:
    """A figure of a paper, as it stands there."""

    what: str
    figure: str
    source: str


@dataclass(frozen=True)
class Setting:
    """A search of a paper on one data set, or the training of its network: `commands` follow each other."""

    name: str
    paper: str
    title: str
    data: str
    published: tuple[Published, ...]
    commands: tuple[Command, ...]
    note: str = ""

    def key(self, command: Command) -> str:
        """What the command is called outside of its setting."""
        return f"{self.name}/{command.name}"


def with_flags(arguments: list[str], flags: Mapping[str, str]) -> list[str]:
    """The arguments with these flags' values, in the flag's place where it stands there."""
    changed = list(arguments)
    for flag, value in flags.items():
        if not flag:
            changed.append(value)
        elif flag in changed:
            changed[changed.index(flag) + 1] = value
        else:
            changed += [flag, value]
    return changed


def trainings(study: str, network: str, data: str, recipe: str, epochs: int, seeds: int = 3) -> tuple[Command, Command]:
    """A network that is given: put on record by two epochs with validation images held out, as `--all-images` needs; then the
    paper's training."""
    hundredth = str(max(2, round(epochs / 100)))
    first = f"edgenas train {network} --data {data} --recipe {recipe} --epochs 2 --seeds 1 \\\n    --study {study}"
    whole = f"edgenas train {study} --recipe {recipe} --all-images --seeds {seeds}"
    return (
        Command("network", "the network, put on record", first, given(network, data, recipe, 2, 1, held_out=True)),
        Command(
            "network-all-images", "its training on all images", whole, given(network, data, recipe, epochs, seeds),
            {"--seeds": "1", "--epochs": hundredth},
        ),
    )  # fmt: skip


def chain_setting(
    data: str,
    preset: str,
    title: str,
    found: tuple[int, int, int],
    figures: tuple[Published, ...],
    recipe: str = "paper-final",
    source: str = GNAS_PAPER,
) -> Setting:
    """GNAS on one data set. `found`: depth, width and epochs of the published macro search, as `source` has it."""
    short = {"fashion-mnist": "fashion"}.get(data, data)
    study, network = f"{short}-{preset}", f"gnas-{short}-{preset}"
    epochs = 50 if recipe.endswith("emnist") else 600
    small = (SMALL_CHAINS if study == "fashion-t" else SMALLER_CHAINS) | {"": "gnas.toml"}
    search = f"edgenas search --method gnas --data {data} --preset {preset} --recipe paper \\\n    --study {study}"
    final = f"edgenas train {study} --recipe {recipe} --final-width macro --all-images --seeds 3"
    last = {"--seeds": "1", "--epochs": str(max(2, epochs // 100))}
    macro = Published("macro search", "depth {}, width {}, {} epochs".format(*found), source)
    return Setting(
        network, "GNAS", title, data, (macro, *figures),
        (
            Command("search", "the search", search, gnas_search(data, preset, *found), small),
            Command("final", "the final training", final, given(network, data, recipe, epochs, 3), last),
            *trainings(f"{study}-published", network, data, recipe, epochs),
        ),
    )  # fmt: skip


def gnas_figures(hours: str, best: str, last: str, params: str) -> tuple[Published, ...]:
    return (
        Published("search", f"{hours} h on one GPU of unknown model", GNAS_PAPER),
        Published(
            f"test accuracy at {params} M parameters", f"{best} % (best epoch on test), {last} % (last)", GNAS_PAPER
        ),
    )


SETTINGS: tuple[Setting, ...] = (
    chain_setting(
        "fashion-mnist", "t", "Fashion-MNIST, at most 64 channels", (18, 54, 32),
        gnas_figures("2.52", "95.91", "95.85", "0.508"),
    ),
    chain_setting(
        "cifar10", "t", "CIFAR-10, at most 64 channels", (26, 46, 48),
        gnas_figures("5.82", "95.91", "95.77", "0.466"),
    ),
    chain_setting(
        "cifar10", "m", "CIFAR-10, at most 128 channels", (21, 102, 51),
        gnas_figures("10.41", "96.84", "96.78", "2.490"),
    ),
    chain_setting(
        "cifar100", "t", "CIFAR-100, at most 64 channels", (21, 56, 32),
        gnas_figures("3.97", "76.36", "76.15", "0.489"),
    ),
    chain_setting(
        "emnist", "t", "EMNIST (balanced), at most 64 channels", (17, 50, 35),
        gnas_figures("8.74", "91.14", "91.07", "0.406"), "paper-final-emnist",
    ),
    chain_setting(
        "kmnist", "t", "KMNIST, at most 64 channels", (18, 50, 38),
        gnas_figures("3.25", "99.35", "99.25", "0.420"),
    ),
    chain_setting(
        "fashion-mnist", "m", "Fashion-MNIST, at most 128 channels", (16, 120, 27),
        (Published("test accuracy", "not known to us", "-"),), source="the authors' search log",
    ),
    Setting(
        "trgnas-cifar10", "TRG-NAS", "CIFAR-10", "cifar10",
        (
            Published("macro search", "depth 16, width 56", TRGNAS_PAPER),
            Published("search, every candidate trained for 600 epochs", "109.4 h on one GPU of unknown model", TRGNAS_PAPER),
            Published("test accuracy at 0.4535 M parameters", "96.00 % (best epoch on test)", TRGNAS_PAPER),
        ),
        (
            Command(
                "search", "the search",
                "edgenas search --method trgnas --data cifar10 --preset trg --recipe paper \\\n    --study cifar10-trg",
                trgnas_search("cifar10", 16, 56, 20), SMALLER_CHAINS | {"--max-width": "12", "--epoch-scale": "0.04"},
            ),
            Command(
                "final", "the final training",
                "edgenas train cifar10-trg --recipe paper-final --final-width macro --all-images --seeds 3",
                given("trgnas-cifar10", "cifar10", "paper-final", 600, 3), ONCE | {"--epochs": "6"},
            ),
            *trainings("cifar10-trg-published", "trgnas-cifar10", "cifar10", "paper-final", 600),
        ),
    ),
    Setting(
        "nse-imagenet", "NSE", "ImageNet: the search, and NSENet (72 operations)", "imagenet",
        (Published("ImageNet top-1 at 333 M MACs", "77.3 %", NSE_PAPER),),
        (
            Command(
                "search-27", "the search with 27 operations",
                "edgenas search --method nse --data imagenet --image-size 224 --pool 27 --preset t \\\n"
                "    --max-mmacs 350 --study nse-27",
                nse_search("imagenet", 27, rounds=6), SMALL_ROUNDS,
            ),
            Command(
                "search-72", "the search that goes on with 72",
                "edgenas search --method nse --data imagenet --image-size 224 --pool 72 --preset t \\\n"
                "    --from nse-27 --max-mmacs 350 --study nse-72",
                nse_search("imagenet", 72, rounds=12), SMALL_ROUNDS,
            ),
            Command(
                "final", "the final training",
                "edgenas train nse-72 --recipe paper-nse-imagenet --all-images --seeds 1",
                nse_finals("imagenet", "paper-nse-imagenet", 350), {"--epochs": "4"},
            ),
            *trainings("nsenet-published", "nsenet", "imagenet", "paper-nse-imagenet", 350, seeds=1),
        ),
    ),
    Setting(
        "nsenet-27", "NSE", "ImageNet: NSENet-27", "imagenet",
        (Published("ImageNet top-1 at 326 M MACs", "not known to us", "-"),),
        trainings("nsenet-27-published", "nsenet-27", "imagenet", "paper-nse-imagenet", 350, seeds=1),
    ),
    Setting(
        "nsenet-gpu", "NSE", "ImageNet: NSENet-GPU", "imagenet",
        (Published("ImageNet top-1 under a latency limit", "77.9 %", NSE_PAPER),),
        trainings("nsenet-gpu-published", "nsenet-gpu", "imagenet", "paper-nse-imagenet", 350, seeds=1),
    ),
    Setting(
        "nal-cifar10", "NAL", "CIFAR-10", "cifar10",
        (
            Published("test accuracy", "97.82 %", NAL_PAPER),
            Published("design", "0.0002 GPU days, about 17 s", NAL_PAPER),
        ),
        (
            Command("design", "the design", "edgenas design --space darts --n 1 --out designs-cifar10"),
            *trainings("nal-cifar10", "designs-cifar10/design-0001.json", "cifar10", "paper-darts", 600),
        ),
    ),
    Setting(
        "nal-imagenet", "NAL", "ImageNet, at most 600 M MACs", "imagenet",
        (Published("ImageNet top-1", "76.51 %", NAL_PAPER),),
        (
            Command(
                "design", "the design",
                "edgenas design --space darts --image-size 224 --classes 1000 --max-mmacs 600 --n 1 \\\n"
                "    --out designs-imagenet",
            ),
            *trainings(
                "nal-imagenet", "designs-imagenet/design-0001.json", "imagenet", "paper-darts-imagenet", 250, seeds=1
            ),
        ),
    ),
)  # fmt: skip
PAPERS = tuple(dict.fromkeys(setting.paper for setting in SETTINGS))
FIRST = SETTINGS[:2]  # what `make bench-gpu` runs: GNAS T on Fashion-MNIST, then on CIFAR-10
