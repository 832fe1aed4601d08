# SPDX-License-Identifier: Apache-2.0
"""Where the packages' tests find what they use of the integration tests."""
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "integration")]
