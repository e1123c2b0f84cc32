"""Kinvert and the reference implementation side by side: both do the same units of work in turn, so that what the
machine does meanwhile meets both.

    pip install -r benches/requirements.txt                                  # in an environment of its own, say `venv`
    python benches/compare.py --python venv/bin/python
    python benches/compare.py --python venv/bin/python --model tests/fixtures/published/zeroscope_v2_576w \
        --dtype bf16 --device cuda --features cuda

Without `--model` it is the built-in model, and on the CPU the main command too, as whole processes. With it, networks
of that folder's configurations have random weights. A ratio is Kinvert's number over the reference's, round by round.
Prints a Markdown table, with medians (least–most) and ratios (quartiles); what is going on is told on standard error.
Needs nothing but the standard library. While a GPU is measured, nobody else may use it.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORKS = {"inversion_step": "inversion step", "denoising_step": "denoising step", "vae_decode": "VAE decode"}
WARM_UP_ROUNDS = 2

REFERENCE = ROOT / "benches/reference.py"
CLIP = [ROOT / "examples/bounce.mp4", "--caption", "a red circle on a gray background"]
CLIP += ["--prompt", "a yellow star on a striped background"]
FIRST_STAGE = "inverting the clip"  # the first in which the network that denoises is run

# Share of the cores that others may take. PyTorch's threads spin while they wait for each other: with another process
# on their cores, a step can take a hundred times as long.
BUSY = 0.05

# What a ratio shall be at most.
TARGETS = {
    "cpu": {"inversion_step": 0.7, "denoising_step": 0.7, "vae_decode": 1.0, "start": 0.2, "memory": 0.6},
    "cuda": {"inversion_step": 0.7, "denoising_step": 0.9, "vae_decode": 1.0, "start": 0.2, "memory": 0.7},
}

# Settings of one library that another process on the machine may need; neither side gets them.
REMOVED_VARIABLES = ["OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"]


def tell(message):
    print(message, file=sys.stderr, flush=True)


def environment(threads):
    variables = {name: value for name, value in os.environ.items() if name not in REMOVED_VARIABLES}
    for name in ("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        variables[name] = str(threads)
    return variables


def busy_share():
    """Share of all cores that is busy, over a second."""

    def ticks():
        counts = [int(count) for count in pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
        return sum(counts), counts[3] + counts[4]  # all, and those of idling and waiting for disks

    before = ticks()
    time.sleep(1)
    total, idle = (now - earlier for now, earlier in zip(ticks(), before))
    return 1 - idle / total


def built(arguments, target):
    """Builds with cargo and returns the path of the program."""
    command = ["cargo", *arguments, "--locked", "--message-format=json"]
    tell(f"building: {' '.join(command)}")
    process = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} failed")
    messages = [json.loads(line) for line in process.stdout.splitlines() if line.startswith("{")]
    for message in messages:
        is_artifact = message["reason"] == "compiler-artifact" and message["target"]["name"] == target
        if is_artifact and message.get("executable"):
            return message["executable"]
    sys.exit(f"{' '.join(command)} built no program `{target}`")


class Worker:
    """A process that does units of work on demand; ends with the block that it was started in."""

    def __init__(self, name, command, variables):
        self.name, self.errors = name, tempfile.TemporaryFile("w+")
        started = time.perf_counter()
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.errors}
        self.process = subprocess.Popen(command, env=variables, text=True, **pipes)
        try:
            answer = self.answer()
            if not answer.get("ready") or not set(WORKS) <= set(answer.get("works", [])):
                self.fail(f"was to be ready for {list(WORKS)}, and said {answer}")
        except BaseException:
            self.__exit__()
            raise
        self.start_s = time.perf_counter() - started

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.errors.close()

    def fail(self, what):
        self.process.kill()
        self.process.wait()
        self.errors.seek(0)
        sys.exit(f"{self.name} {what}\nits standard error:\n{self.errors.read()[-4000:]}")

    def answer(self):
        line = self.process.stdout.readline()
        try:
            answer = json.loads(line)
        except json.JSONDecodeError:
            answer = None
        if not isinstance(answer, dict):
            self.fail(f"said {line!r}" if line else "ended without an answer")
        return answer

    def do(self, work):
        """Seconds that the work took, by the worker's own clock."""
        try:
            self.process.stdin.write(work + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            self.fail(f"has ended before {work}")
        answer = self.answer()
        if answer.get("work") != work:
            self.fail(f"was to do {work}, and said {answer}")
        return answer["seconds"]


def measure_starts(start, count):
    """Pairs of seconds from the process's start until its networks are ready."""
    pairs = []
    for index in range(count):
        pairs.append([])
        for side in ("ours", "reference"):
            with start(side) as worker:
                pairs[-1].append(worker.start_s)
        tell(f"start {index + 1} of {count}: ours {pairs[-1][0]:.2f} s, reference {pairs[-1][1]:.2f} s")
    return pairs


def measure_works(start, rounds):
    """Pairs of seconds, by work."""
    pairs = {}
    with start("ours") as ours, start("reference") as reference:
        for work in WORKS:
            all_rounds = [[side.do(work) for side in (ours, reference)] for _ in range(WARM_UP_ROUNDS + rounds)]
            pairs[work] = all_rounds[WARM_UP_ROUNDS:]
            tell(f"{work}: {rounds} rounds")
    return pairs


class DeviceMemory:
    """Watches how much memory of a GPU is taken, by all processes together: containers often hide which of them
    has it. Whoever measures has the GPU alone."""

    def __init__(self, device):
        index = device.partition(":")[2] or "0"
        self.query = ["nvidia-smi", f"--id={index}", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]

    def now(self):
        """Bytes, or None if they are not told."""
        try:
            text = subprocess.run(self.query, capture_output=True, text=True).stdout
            return int(text) * 2**20
        except (OSError, ValueError):
            return None

    def peak_during(self, work):
        done, seen = threading.Event(), [self.now()]

        def watch():
            while not done.wait(0.1):
                seen.append(self.now())

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            work()
        finally:
            done.set()
            watcher.join()
        seen.append(self.now())  # allocators keep what they once had
        return max(bytes_taken or 0 for bytes_taken in seen)


def measure_device_memory(start, device):
    """A pair of the most bytes of the GPU that a process took for steps of learning, alone; None if not told."""
    memory, pair = DeviceMemory(device), []
    for side in ("ours", "reference"):
        before = memory.now()
        if before is None:
            return None
        with start(side) as worker:
            peak = memory.peak_during(lambda: [worker.do("inversion_step") for _ in range(WARM_UP_ROUNDS + 1)])
        pair.append(peak - before)
        tell(f"memory of the GPU: {side} {(peak - before) / 2**20:.0f} MiB")
    return pair


def run_whole(command, variables):
    """Seconds and most bytes that a process took."""
    with tempfile.TemporaryFile("w+") as output:
        started = time.perf_counter()
        process = subprocess.Popen(command, env=variables, stdout=output, stderr=subprocess.STDOUT)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            output.seek(0)
            sys.exit(f"{' '.join(map(str, command))} failed:\n{output.read()[-4000:]}")
    return seconds, usage.ru_maxrss * 1024


def measure_transfers(kinvert, python, variables, rounds, threads):
    """Pairs of the main command's seconds, of those until the first step of the network, and of the most bytes."""
    pairs = {"transfer": [], "transfer_start": [], "transfer_memory": []}
    for index in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            ours_s, ours_bytes = run_whole([kinvert, "transfer", *CLIP, "--out", folder / "ours"], variables)
            stages = json.loads((folder / "ours/run.json").read_text())["timings"]["stages"]
            first = [stage["stage"] for stage in stages].index(FIRST_STAGE)
            # What follows the last stage, such as writing files, counts as if it came before the first step.
            ours_start_s = ours_s - sum(stage["wall_s"] for stage in stages[first:])

            command = [python, REFERENCE, "transfer", *CLIP, "--threads", str(threads)]
            reference_s, reference_bytes = run_whole([*command, "--out", folder / "reference"], variables)
            reference_start_s = json.loads((folder / "reference/run.json").read_text())["start_s"]
        pairs["transfer"].append([ours_s, reference_s])
        pairs["transfer_start"].append([ours_start_s, reference_start_s])
        pairs["transfer_memory"].append([ours_bytes, reference_bytes])
        tell(f"transfer {index + 1} of {rounds}: ours {ours_s:.1f} s, reference {reference_s:.1f} s")
    return pairs


MILLISECONDS, SECONDS, MEGABYTES = (1e3, "ms"), (1, "s"), (1e-6, "MB")


def spread(numbers, unit):
    """Median, and the least and the most of several, with three digits."""
    scale, name = unit
    write = lambda number: f"{scale * number:.{max(0, 3 - len(str(int(scale * number))))}f}"
    found = write(statistics.median(numbers))
    if len(numbers) > 1:
        found += f" ({write(min(numbers))}–{write(max(numbers))})"
    return f"{found} {name}"


def row(label, pairs, unit, target):
    """A line of the table; the ratio's spread is its quartiles."""
    ours, reference = zip(*pairs)
    ratios = [our / their for our, their in pairs]
    ratio = statistics.median(ratios)
    cell = f"{ratio:.2f}"
    if len(ratios) > 1:
        low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
        cell += f" ({low:.2f}–{high:.2f})"
    verdict = "" if target is None else f"≤ {target} {'met' if ratio <= target else 'missed'}"
    return f"| {label} | {spread(reference, unit)} | {spread(ours, unit)} | {cell} | {verdict} |"


def table(measured, kind, random_weights):
    targets = TARGETS[kind]
    lines = ["| work | reference | ours | ratio | target |", "|---|---|---|---|---|"]
    for work, label in WORKS.items():
        lines.append(row(label, measured[work], MILLISECONDS, targets[work]))
    # Making random weights is no start that anybody waits for.
    lines.append(row("start until ready", measured["start"], SECONDS, None if random_weights else targets["start"]))
    if "transfer" in measured:
        lines.append(row("transfer", measured["transfer"], SECONDS, None))
        lines.append(row("transfer, until its first step", measured["transfer_start"], SECONDS, targets["start"]))
        lines.append(row("transfer, peak memory", measured["transfer_memory"], MEGABYTES, targets["memory"]))
    elif measured.get("device_memory"):
        pairs = [measured["device_memory"]]
        lines.append(row("inversion step, peak memory of the GPU", pairs, MEGABYTES, targets["memory"]))
    else:
        lines.append("| peak memory | not measured | not measured | | |")
    return "\n".join(lines)


def line_of(command):
    """The first line that a program prints, or nothing if there is no such program."""
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.partition("\n")[0].strip()
    except OSError:
        return ""


def circumstances(args, kind, others):
    """Machine, versions, settings, date and what else the machine did, in a line."""
    names = [line for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    parts = [datetime.date.today().isoformat(), names[0].partition(": ")[2] if names else platform.machine()]
    parts.append(f"{len(os.sched_getaffinity(0))} cores")
    if kind == "cuda":
        parts.append(line_of(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]))
    versions = "from importlib.metadata import version as v; print('torch', v('torch'), 'diffusers', v('diffusers'))"
    parts.append(line_of([args.python, "-c", versions]))
    revision = line_of(["git", "describe", "--always", "--dirty"])
    parts += [f"Kinvert {revision}" if revision else "", f"{args.threads} threads", args.dtype, f"{args.rounds} rounds"]
    if args.model:
        shape = f"{args.size or '576x320'}, {args.frames or 24} frames"
        parts.append(f"{args.model}: {shape}, activations computed again by {args.recompute}")
    parts.append(f"{others:.0%} of the cores taken by others before")
    return ", ".join(part for part in parts if part)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="an interpreter that has benches/requirements.txt")
    parser.add_argument("--ours", help="Kinvert's worker, the bench `work`; built if absent")
    parser.add_argument("--kinvert", help="Kinvert's program; built if absent")
    parser.add_argument("--features", help="features to build with")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--transfer-rounds", type=int, default=1)
    parser.add_argument("--skip-transfer", action="store_true", help="leave out the main command as a whole")
    parser.add_argument("--model", help="a model's folder, of which the configurations are read")
    parser.add_argument("--size", help="WxH in pixels")
    parser.add_argument("--frames", type=int)
    parser.add_argument("--dtype", choices=["f32", "f16", "bf16"], default="f32")
    parser.add_argument("--device", default="cpu")
    again = "who computes activations again on the way back, as the published code does; its default is that on a GPU"
    parser.add_argument("--recompute", choices=["neither", "reference", "both"], help=again)
    parser.add_argument("--json", type=pathlib.Path, help="where to write every number")
    return parser.parse_args()


def main():
    args = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # as Ctrl-C, it ends what was started
    kind = "cuda" if args.device.startswith("cuda") else "cpu"
    args.recompute = args.recompute or ("reference" if kind == "cuda" else "neither")
    variables = environment(args.threads)
    features = ["--features", args.features] if args.features else []
    ours = args.ours or built(["bench", "-p", "kinvert", "--bench", "work", "--no-run", *features], "work")
    is_main_command = kind == "cpu" and not (args.model or args.skip_transfer)
    if is_main_command:
        kinvert = args.kinvert or built(["build", "--release", "-p", "kinvert-cli", *features], "kinvert")

    shared = ["--dtype", args.dtype, "--device", args.device]
    for option, value in (("--model", args.model), ("--size", args.size), ("--frames", args.frames)):
        shared += [option, str(value)] if value else []
    commands = {
        "ours": [ours, "--serve", *shared],
        "reference": [args.python, REFERENCE, "serve", "--threads", str(args.threads), *shared],
    }
    for side, command in commands.items():
        command += ["--recompute"] if args.recompute in (side, "both") else []
    start = lambda side: Worker(side, commands[side], variables)

    others = busy_share()
    if kind == "cpu" and others > BUSY:
        tell(f"others take {others:.0%} of this machine's cores: the numbers will say little of either side")
    measured = {"start": measure_starts(start, args.starts), **measure_works(start, args.rounds)}
    if kind == "cuda":
        measured["device_memory"] = measure_device_memory(start, args.device)
    if is_main_command:
        whole = measure_transfers(kinvert, args.python, variables, args.transfer_rounds, args.threads)
        measured.update(whole)
    told = circumstances(args, kind, others)
    if args.json:
        args.json.write_text(json.dumps({"circumstances": told, "pairs of ours and the reference": measured}, indent=2))
    print(table(measured, kind, bool(args.model)))
    print(f"\n{told}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:  # a program that is not there, say
        sys.exit(str(error))
