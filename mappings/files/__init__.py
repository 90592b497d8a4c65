"""Tables of cells: read from CSV and XLSX, and written as such. Pure."""
