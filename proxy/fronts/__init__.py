"""What clients speak: a folder for each dialect. Fronts and wires never meet."""
