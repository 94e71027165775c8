/*
 * mpi_init.c - the least that a program under mpirun does: join the world, leave it. What a job's start is
 * measured against. Rank 0 prints the wall time, in microseconds, at which it had joined.
 */
#include <mpi.h>
#include <stdio.h>
#include <sys/time.h>

int main(int argc, char **argv)
{
    struct timeval now;
    int level = 0, rank = 0;

    if (MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &level) != MPI_SUCCESS ||
        MPI_Comm_rank(MPI_COMM_WORLD, &rank) != MPI_SUCCESS)
        return 1;
    gettimeofday(&now, NULL);
    if (rank == 0)
        printf("%lld\n", (long long)now.tv_sec * 1000000 + now.tv_usec);
    return MPI_Finalize() == MPI_SUCCESS ? 0 : 1;
}
