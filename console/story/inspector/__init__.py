"""What the tabs beside the story show: one module per tab, each a fixed number of queries for one page of rows."""
