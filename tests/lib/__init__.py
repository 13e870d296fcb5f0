# SPDX-License-Identifier: Apache-2.0
"""What the suites share: a stack to test against, agents with keys, the audit log's rules, and ways to break things."""
