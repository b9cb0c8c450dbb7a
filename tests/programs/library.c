/* A library to be mapped, for its build-id. */
int answer(void)
{
	return 42;
}
