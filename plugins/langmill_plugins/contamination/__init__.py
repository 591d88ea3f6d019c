"""What a row gives away of rows that models are scored on."""
