"""The object database: records in memory, every change committed to SQLite."""
