"""The portal's side of the lab: its state and its faults, for operators, where the lab is enabled."""
