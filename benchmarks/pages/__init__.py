"""What README and docs show: tables and pictures from the records, the cards and the sources."""
