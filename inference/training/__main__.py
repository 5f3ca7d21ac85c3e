"""`python -m inference.training`: render | train | evaluate | export."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

EVERY_SPLIT = ("drawn", "solid", "real")
EPILOG = """examples:
  python -m inference.training render --out samples.png           look at what the network is taught with
  python -m inference.training train --out runs/nano --minutes 120
  python -m inference.training train --out runs/nano --minutes 180  resumes, with an hour more
  python -m inference.training train --out runs/edge --edge --start nano.safetensors --minutes 15
  python -m inference.training export --out runs/nano               write the weights that alphadrop loads
  python -m inference.training evaluate --out evaluation            score the shipped weights beside u2netp and u2net
  python -m inference.training evaluate --split real --alone        score them on photographed objects, without rivals
"""


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and run one of the commands; returns the exit code."""
    args = build_parser().parse_args(arguments)
    return int(args.command(args) or 0)


def build_parser() -> argparse.ArgumentParser:
    """The commands and their options, with defaults shown."""
    parser = argparse.ArgumentParser(
        prog="python -m inference.training",
        description="Train and judge the matting network.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    shape = argparse.ArgumentDefaultsHelpFormatter

    render = commands.add_parser("render", help="a contact sheet of procedural samples", formatter_class=shape)
    render.add_argument("--out", type=Path, default=Path("samples.png"), help="the PNG to write")
    render.add_argument("--count", type=int, default=48, help="how many samples")
    render.add_argument("--size", type=int, default=256, help="side of a sample in pixels")
    render.add_argument("--seed", type=int, default=0, help="same seed, same samples")
    render.set_defaults(command=run_render)

    train = commands.add_parser("train", help="train, or go on training", formatter_class=shape)
    train.add_argument("--out", type=Path, required=True, help="the run's folder: checkpoint, history, curve")
    train.add_argument("--size", default="nano", help="which CV-UNet: nano, lite or full")
    train.add_argument("--minutes", type=float, default=120, help="time budget, all resumed runs together")
    train.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ...")
    train.add_argument("--threads", type=int, default=2, help="torch threads on the CPU")
    train.add_argument("--workers", type=int, default=1, help="processes that render samples")
    train.add_argument("--data", type=Path, default=Path("training-data"), help="what `make training-data` gathered")
    train.add_argument("--drawn", action="store_true", help="drawings alone, without --data")
    train.add_argument("--start", type=Path, help="weights to begin with, as export writes them")
    train.add_argument("--edge", action="store_true", help="the edge head alone, on larger pictures: wants --start")
    train.add_argument("--head", type=Path, help="with --edge: weights whose edge head to begin with")
    train.add_argument("--rate", type=float, default=2.0e-3, help="the highest learning rate")
    train.add_argument("--seed", type=int, default=1, help="seed of samples and weights")
    train.set_defaults(command=run_train)

    export = commands.add_parser("export", help="write a run's averaged weights as safetensors", formatter_class=shape)
    export.add_argument("--out", type=Path, required=True, help="the run's folder")
    export.add_argument("--to", type=Path, help="the file to write; default: where the package ships its weights")
    export.add_argument("--earlier", type=Path, help="write the mean with these weights, from which the run went on")
    export.add_argument("--share", type=float, default=0.5, help="with --earlier: the run's share of the mean, 0..1")
    export.set_defaults(command=run_export)

    evaluate = commands.add_parser("evaluate", help="score weights on the held-out splits", formatter_class=shape)
    evaluate.add_argument("--out", type=Path, default=Path("evaluation"), help="folder for the table and the sheets")
    evaluate.add_argument("--model", default="nano", help="a size with weights, or a .safetensors file")
    evaluate.add_argument("--count", type=int, default=400, help="how many pictures of drawn and of solid")
    evaluate.add_argument("--split", choices=EVERY_SPLIT, help="one of the splits; default: all")
    evaluate.add_argument("--data", type=Path, default=Path("training-data"), help="where `real` and the rivals are")
    evaluate.add_argument("--alone", action="store_true", help="without the rivals, u2netp and u2net")
    evaluate.set_defaults(command=run_evaluate)
    return parser


def run_render(args: argparse.Namespace) -> None:
    """Draw the contact sheet of samples."""
    from inference.training.render import render_samples

    render_samples(args.out, count=args.count, size=args.size, seed=args.seed)
    print(f"wrote {args.out}")


def run_train(args: argparse.Namespace) -> int:
    """Train until the time budget is spent."""
    from inference.corpus.gathering import is_complete
    from inference.corpus.layout import Layout
    from inference.training.train import Trainer, TrainOptions

    if not args.drawn and not is_complete(Layout(args.data)):
        print(
            f"error: {args.data} does not hold all of the training data: run `make training-data`, which goes on where "
            "it stopped. With --drawn the network learns from drawings alone.",
            file=sys.stderr,
        )
        return 1
    options = TrainOptions(
        out=args.out,
        size=args.size,
        minutes=args.minutes,
        device=args.device,
        threads=args.threads,
        workers=args.workers,
        seed=args.seed,
        data=None if args.drawn else args.data,
        start=args.start,
        edge=args.edge,
        head=args.head,
        learning_rate=args.rate,
    )
    Trainer(options).run()
    return 0


def run_export(args: argparse.Namespace) -> None:
    """Write the averaged weights of a run."""
    from inference.training.export import export

    path = export(args.out, args.to, args.earlier, args.share if args.earlier else 1.0)
    print(f"wrote {path} ({path.stat().st_size / 1e6:.2f} MB)")


def run_evaluate(args: argparse.Namespace) -> int:
    """Score a model beside its rivals and draw the sheets."""
    from inference.corpus.layout import Layout
    from inference.evaluation.side_by_side import evaluate, rivals

    layout = Layout(args.data)
    others = {} if args.alone else rivals(layout)
    if not args.alone and len(others) < 2:
        print(f"{layout.models} lacks u2netp.onnx or u2net.onnx: they are left out; make training-data fetches them.")
    splits = [args.split] if args.split else list(EVERY_SPLIT)
    if not args.split and not layout.real_objects.is_dir():
        splits.remove("real")
        print(f"{layout.root} does not hold the real split, which is left out; make training-data fetches it.")
    try:
        evaluate({args.model: args.model, **others}, args.out, layout, splits, args.count)
    except FileNotFoundError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
