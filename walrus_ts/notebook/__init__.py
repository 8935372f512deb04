"""walrus_ts in a notebook: what its objects look like as HTML, and plots. Imported when it is used."""
