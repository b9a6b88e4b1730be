"""compare_logits.py THERE HERE: do the other program's logits and Quern's agree?"""
import sys

from quern_files import read_safetensors, report

there, _ = read_safetensors(sys.argv[1])
here, _ = read_safetensors(sys.argv[2])
sys.exit(0 if report("imported", there["logits"], here["logits"], here["labels"], 1e-5) else 1)
