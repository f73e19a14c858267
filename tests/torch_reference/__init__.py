"""What the comparisons with PyTorch share: the same networks, random numbers and files as clquant's."""
