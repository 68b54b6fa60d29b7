import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # legacy_proto.py and paddle_translation.py are the tests' own helpers
