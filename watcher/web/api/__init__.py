"""The API for programs: uploads that wait for their picture, and the requests of other background-removal services."""
