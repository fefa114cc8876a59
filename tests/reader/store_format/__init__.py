# SPDX-License-Identifier: Apache-2.0
"""A Xenolith store as docs/FORMAT.md describes it, for reading."""
