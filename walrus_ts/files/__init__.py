"""Files of tables (CSV, Parquet, Feather) into streams and out of them, in bounded memory."""
