"""The only SQL there is: tables, migrations, and one function for each statement."""
