"""What the compilers made of every GPU kernel, and what its inner loop can reach: needs no GPU."""
