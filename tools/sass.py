#!/usr/bin/env python3
"""sass.py NVDISASM CUBIN... - whether ptxas has kept apart the registers of a warpgroup's products (wgmma; HGMMA in SASS).

Of each kernel with such products the loop around them is read as it lies, from its head to its branch back:

- A left operand that the loop reads before it writes it comes from before the loop. If the loop writes it later, the next turn
  multiplies something else. ptxas 12.8 to 13.0 does that to operands loaded once before a loop, without a word.
- From a product to the wait that ends its group nothing else may write its registers or read its sum.

It reads instructions in their order, which is enough for loops without branches around products. Exit 1: something was found;
2: a kernel has products, but no loop around them that could be read.
"""
import re
import subprocess
import sys

ADDRESS = re.compile(r"/\*([0-9a-f]{4,6})\*/\s+(.*?)\s*;")
PRODUCT = re.compile(r"HGMMA\S* R(\d+), (?:R(\d+)|gdesc\S*),?")
# What has no register as its result, though one comes first.
NO_RESULT = ("ST", "RED", "BRA", "BAR", "BSSY", "BSYNC", "SYNCS", "UTMA", "WARPSYNC", "EXIT", "FENCE", "MEMBAR", "ISETP", "FSETP", "NOP",
             "YIELD", "CALL", "RET", "R2UR", "DEPBAR", "HGMMA", "PLOP", "U")


def kernels(nvdisasm, cubin):
    """{name: [(address, text)]}; a label is (None, its name)."""
    told = subprocess.run([nvdisasm, "-c", cubin], capture_output=True, text=True, check=True).stdout
    found, lines = {}, []
    for line in told.splitlines():
        if kernel := re.match(r"\.text\.(\S+):", line):
            lines = found.setdefault(kernel[1], [])
        elif label := re.match(r"\.L_(x_\d+):", line):
            lines.append((None, label[1]))
        elif instruction := ADDRESS.search(line):
            lines.append((instruction[1], re.sub(r"^@!?U?P\w+ ", "", instruction[2])))
    return found


def written(text):
    """The registers of an instruction's result."""
    operation = text.split()[0]
    first = re.match(r"\S+ (?:U?P\w+, )?R(\d+)\b", text)
    if operation.startswith(NO_RESULT) or not first:
        return set()
    count = 1
    if operation.startswith("LDSM") or ".128" in operation:
        count = 4
    elif ".64" in operation or ".WIDE" in operation or operation.startswith("CS2R"):
        count = 2
    return set(range(int(first[1]), int(first[1]) + count))


def read(text):
    all_of_it = [int(register) for register in re.findall(r"\bR(\d+)\b", text)]
    return set(all_of_it[1:] if written(text) else all_of_it)


def loop_around(lines):
    """The places of the loop's head and of its branch back."""
    products = [place for place, (address, text) in enumerate(lines) if address and text.startswith("HGMMA")]
    labels = {text: place for place, (address, text) in enumerate(lines) if not address}
    for place in range(products[-1], len(lines)):
        branch = re.search(r"BRA .*?\.L_(x_\d+)", lines[place][1]) if lines[place][0] else None
        if branch and labels.get(branch[1], len(lines)) < products[0]:
            return labels[branch[1]], place
    return None


def registers_of(product):
    """-> its sum's, its left operand's"""
    into, left = PRODUCT.match(product).groups()
    columns = int(re.search(r"64x(\d+)x16", product)[1])
    sums = set(range(int(into), int(into) + columns // 2))
    return sums, set(range(int(left), int(left) + 4)) if left else set()


def overwritten(lines):
    """Left operands from before the loop that the loop writes behind their product."""
    body = [(address, text) for address, text in lines if address]
    for place, (address, text) in enumerate(body):
        if not text.startswith("HGMMA"):
            continue
        for register in registers_of(text)[1]:
            if any(register in written(before) for _, before in body[:place]):
                continue
            for later, other in body[place:]:
                if register in written(other):
                    yield f"R{register} of the product at {address} is written at {later}: {other}"


def touched(lines):
    """Registers of products that are not done yet."""
    groups, group = [], []
    for address, text in lines:
        if not address:
            continue
        if text.startswith("HGMMA"):
            group.append(registers_of(text))
            if "gsb0" in text:
                groups, group = groups + [group], []
            continue
        if wait := re.search(r"DEPBAR\.LE gsb0, 0x([0-9a-f]+)", text):
            left = int(wait[1], 16)
            groups = groups[len(groups) - left:] if left else []
            continue
        for sums, operand in [registers for one in groups + [group] for registers in one]:
            if written(text) & (sums | operand) or read(text) & sums:
                yield f"{address}: {text} touches a product that is not done"


def main():
    bad = products = 0
    for cubin in sys.argv[2:]:
        for name, lines in kernels(sys.argv[1], cubin).items():
            if not any(address and text.startswith("HGMMA") for address, text in lines):
                continue
            loop = loop_around(lines)
            if not loop:
                print(f"sass.py: {name}: no loop around its products that could be read", file=sys.stderr)
                sys.exit(2)
            body = lines[loop[0]:loop[1] + 1]
            products += sum(1 for address, text in body if address and text.startswith("HGMMA"))
            for found in [*overwritten(body), *touched(body)]:
                print(f"sass.py: {name}: {found}", file=sys.stderr)
                bad += 1
    print(f"{products} products of warpgroups in loops: {'their registers are kept apart' if not bad else f'{bad} registers are not kept apart'}")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
