"""The data contract: columns, Arrow types, schemas, output names, and the hash of an id."""
