r"""One run on the processes of an MPI communicator, each of which holds some of the d columns."""
