"""The tables: what each is, what it holds, what a batch of listings changes in it, and how that is written."""
