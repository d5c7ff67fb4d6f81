"""The benchmark's parts, users above used: report, session, memory, drive, peer, process, template, scenario, target."""
