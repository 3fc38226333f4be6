"""What messages say, as bytes: contexts, births, stats and reports, and what of them is believed."""
