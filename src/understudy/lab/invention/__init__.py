"""The lab's inventor of instructions, with faults that are known."""
