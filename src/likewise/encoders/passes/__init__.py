"""Ways through a network other than one plain batch: several crops, parts, shuffled, a trial."""
