"""Forward passes other than one plain batch: several crops, parts, shuffled, a trial."""
