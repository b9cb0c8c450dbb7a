/*
 * A program for hooks on programs. Without a library, so that it runs wherever the tests do; with frame pointers, so
 * that its stack can be told.
 *
 *   hooked add A B…        calls added(A, B) for each pair
 *   hooked say TEXT…       calls said(TEXT, length) for each text
 *   hooked probe A…        passes its USDT probes with each number
 *   hooked end A           ends with what settled(A) says
 *   hooked twice A         ends with doubled(A), and 100 more if that was run
 *   hooked map FILE        maps a file to be executed
 *   hooked open FILE       opens a file, three functions deep
 *
 * With a first argument that begins with a dash it waits for the end of its standard input before it ends.
 */
typedef unsigned long size_t;

#define NOINLINE __attribute__((noinline, used, visibility("default")))

static long call(long number, long a, long b, long c, long d, long e, long f)
{
	long result;
#ifdef __x86_64__
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
#else
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;
	register long x8 __asm__("x8") = number;

	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5), "r"(x8) : "memory");
	result = x0;
#endif
	return result;
}

#ifdef __x86_64__
enum { READ = 0, MMAP = 9, EXIT = 231, OPENAT = 257 };
#else
enum { READ = 63, MMAP = 222, EXIT = 94, OPENAT = 56 };
#endif

/* A USDT probe, as <sys/sdt.h> makes it. */
#define PROBE(name, semaphore, spec, ...) PROBE_ON(name, semaphore, spec, : : __VA_ARGS__)

/* The same with operands as `asm` takes them, so that some may be changed there. */
#define PROBE_ON(name, semaphore, spec, ...)                                          \
	__asm__ volatile("990: nop\n"                                                 \
			 ".pushsection .note.stapsdt,\"?\",\"note\"\n"                \
			 ".balign 4\n"                                                \
			 ".4byte 992f-991f, 994f-993f, 3\n"                           \
			 "991: .asciz \"stapsdt\"\n"                                  \
			 "992: .balign 4\n"                                           \
			 "993: .8byte 990b\n"                                         \
			 ".8byte _.stapsdt.base\n"                                    \
			 ".8byte " semaphore "\n"                                     \
			 ".asciz \"trigon\"\n"                                        \
			 ".asciz \"" name "\"\n"                                      \
			 ".asciz \"" spec "\"\n"                                      \
			 "994: .balign 4\n"                                           \
			 ".popsection\n"                                              \
			 ".ifndef _.stapsdt.base\n"                                   \
			 ".pushsection .stapsdt.base,\"aG\",\"progbits\",.stapsdt.base,comdat\n" \
			 ".weak _.stapsdt.base\n"                                     \
			 ".hidden _.stapsdt.base\n"                                   \
			 "_.stapsdt.base: .space 1\n"                                 \
			 ".size _.stapsdt.base, 1\n"                                  \
			 ".popsection\n"                                              \
			 ".endif\n"                                                   \
			 __VA_ARGS__)

/* How many look at the probe `counted`. */
__attribute__((used, section(".probes"))) volatile unsigned short counted_semaphore;

NOINLINE long added(int first, long second)
{
	__asm__ volatile("");
	return first + second;
}

NOINLINE long said(const char *text, size_t length)
{
	__asm__ volatile("" : : "r"(text) : "memory");
	return length;
}

NOINLINE void probed(int number)
{
	volatile long in_memory = number * 1000L;
	volatile short table[4] = { 1, 2, -3, 4 };
	const char *text = "a text";

	/* A register of four bytes with a sign, one of eight, memory, a constant, a text. */
	PROBE("plain", "0", "-4@%0 8@%1 -8@%2 4@$5 8@%3", "r"(number), "r"((unsigned long)number + 1), "m"(in_memory),
	      "r"(text));
#ifdef __x86_64__
	/* Memory by two registers, and what can't be read here. */
	PROBE("scaled", "0", "-2@(%0,%1,2) 8@outside(%%rip)", "r"(table), "r"(2L));
#endif
	if (counted_semaphore)
		PROBE("counted", "counted_semaphore", "-4@%0", "r"(number * 2));
}

/* What whoever looks may have set: in a register, and in memory. */
NOINLINE int settled(int number)
{
	int in_register = number;
	volatile int in_memory = number;
	volatile short narrow = number;

	PROBE_ON("settled", "0", "-4@%0 -4@%1 -2@%2 4@$5", : "+r"(in_register), "+m"(in_memory), "+m"(narrow));
	return in_register + 10 * in_memory + 100 * narrow;
}

/* How often the next was run. */
static volatile int doublings;

NOINLINE int doubled(int number)
{
	doublings++;
	return 2 * number;
}

NOINLINE long opened_inside(const char *path)
{
	long fd = call(OPENAT, -100, (long)path, 0, 0, 0, 0);

	__asm__ volatile("" : "+r"(fd));
	return fd;
}

NOINLINE long opened_between(const char *path)
{
	long fd = opened_inside(path);

	__asm__ volatile("" : "+r"(fd));
	return fd + 1;
}

NOINLINE long opened(const char *path)
{
	long fd = opened_between(path);

	__asm__ volatile("" : "+r"(fd));
	return fd + 1;
}

static int mapped(const char *path)
{
	/* Read only; of a private mapping that may be read and executed. */
	long fd = call(OPENAT, -100, (long)path, 0, 0, 0, 0);

	if (fd < 0)
		return 1;
	long at = call(MMAP, 0, 4096, 1 | 4, 2, fd, 0);

	return at < 0 && at > -4096;
}

static long number(const char *text)
{
	long sign = 1, value = 0;

	if (*text == '-') {
		sign = -1;
		text++;
	}
	for (; *text; text++)
		value = value * 10 + (*text - '0');
	return sign * value;
}

static size_t length(const char *text)
{
	size_t count = 0;

	while (text[count])
		count++;
	return count;
}

__attribute__((used)) int run(long *stack)
{
	int count = stack[0], failed = 0;
	char **args = (char **)(stack + 1), byte;
	int waits = count > 1 && args[1][0] == '-';

	/* What follows is as if it were not there. */
	args += waits;
	count -= waits;
	if (count < 3)
		return 2;
	for (int i = 2; i < count; i++) {
		switch (args[1][0]) {
		case 'a':
			if (i + 1 < count)
				added(number(args[i]), number(args[i + 1]));
			i++;
			break;
		case 's':
			said(args[i], length(args[i]));
			break;
		case 'p':
			probed(number(args[i]));
			break;
		case 'e':
			return settled(number(args[i]));
		case 't':
			failed = doubled(number(args[i]));
			return failed + 100 * doublings;
		case 'm':
			failed |= mapped(args[i]);
			break;
		case 'o':
			failed |= opened(args[i]) < 0;
			break;
		default:
			return 2;
		}
	}
	while (waits && call(READ, 0, (long)&byte, 1, 0, 0, 0) > 0)
		;
	return failed;
}

__attribute__((used)) void leave(int code)
{
	call(EXIT, code, 0, 0, 0, 0, 0);
}

#ifdef __x86_64__
__asm__(".globl _start\n"
	"_start: xor %ebp, %ebp\n"
	"mov %rsp, %rdi\n"
	"and $-16, %rsp\n"
	"call run\n"
	"mov %eax, %edi\n"
	"call leave\n"
	"hlt\n");
#else
__asm__(".globl _start\n"
	"_start: mov x29, 0\n"
	"mov x0, sp\n"
	"bl run\n"
	"bl leave\n");
#endif
