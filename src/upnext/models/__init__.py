"""What is learned: model definitions and their settings; how they are trained is no business of this folder."""
