"""`make migration`: a new migration, with what the tables' classes say and the schema does not."""
