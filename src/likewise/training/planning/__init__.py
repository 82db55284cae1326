"""What a run will do: what is asked for, what the machine can do, what is settled, and resumed."""
