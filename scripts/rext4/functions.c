// SPDX-License-Identifier: GPL-2.0
/*
 * A plugin of QEMU that counts the guest's instructions by place: see functions.py.
 *
 * What is counted is what lies between two marks of the guest. A mark is an instruction that does
 * nothing and that no compiler writes, "nopl MARK + number(%rax)", with a number of its own for each
 * thing that is measured, and 0 for their ends. When a mark is met the counts go to the file, as
 * lines "number, address, instructions, entries", and begin anew.
 *
 * Counted are groups: instructions that follow each other and are entered at the first. A string
 * instruction with a prefix ends a group, since QEMU comes back to it for each of its steps.
 * Of programs, which nobody asks for, there is one count for all, at address 0.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of qemu-plugin.h, which Debian has in no package: what is used here, since version 3. */
typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_plugin_scoreboard;
struct qemu_plugin_u64 {
	struct qemu_plugin_scoreboard *score;
	size_t offset;
};
enum { NO_REGISTERS, INLINE_ADD_U64 = 0 };
struct qemu_plugin_scoreboard *qemu_plugin_scoreboard_new(size_t element_size);
void *qemu_plugin_scoreboard_find(struct qemu_plugin_scoreboard *score, unsigned int cpu);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t at);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *insn, void *to, size_t len);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
		void (*cb)(qemu_plugin_id_t id, struct qemu_plugin_tb *tb));
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn,
		void (*cb)(unsigned int cpu, void *data), int flags, void *data);
void qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(struct qemu_plugin_insn *insn,
		int op, struct qemu_plugin_u64 entry, uint64_t imm);

__attribute__((visibility("default"))) int qemu_plugin_version = 3;

#define MARK 0x72650000u
#define GROUPS (1u << 20)
#define KERNEL (1ull << 63)

/* A group, found by where it begins and how long it is. Number 0 is all programs. */
static struct { uint64_t at; uint32_t length, next; } groups[GROUPS];
static uint32_t heads[GROUPS], used = 1, phase;
static struct qemu_plugin_scoreboard *score;
static FILE *out;

static uint32_t group(uint64_t at, uint32_t length)
{
	uint32_t *head = &heads[(at * 0x9e3779b97f4a7c15ull + length) >> 44];
	uint32_t i;

	if (!(at & KERNEL))
		return 0;
	for (i = *head; i; i = groups[i].next)
		if (groups[i].at == at && groups[i].length == length)
			return i;
	if (used == GROUPS) {
		fputs("rext4: too many groups of instructions\n", stderr);
		exit(1);
	}
	groups[used].at = at;
	groups[used].length = length;
	groups[used].next = *head;
	return *head = used++;
}

/* How often each group was entered; of programs it is how many instructions they took. */
static void mark(unsigned int cpu, void *data)
{
	uint64_t *counts = qemu_plugin_scoreboard_find(score, cpu);
	uint32_t i;

	for (i = 0; i < used; i++) {
		uint32_t length = i ? groups[i].length : 1;

		if (phase && counts[i])
			fprintf(out, "%u\t%" PRIx64 "\t%" PRIu64 "\t%" PRIu64 "\n", phase,
				groups[i].at, counts[i] * length, counts[i]);
		counts[i] = 0;
	}
	fflush(out);
	phase = (uintptr_t)data;
}

static bool is_string(const uint8_t *code, size_t size)
{
	bool repeated = false;
	size_t i;

	for (i = 0; i < size; i++) {
		if (code[i] == 0xf2 || code[i] == 0xf3)
			repeated = true;
		else if (code[i] != 0x66 && code[i] != 0x67 && (code[i] & 0xf0) != 0x40)
			break;
	}
	return repeated && i < size && ((code[i] >= 0xa4 && code[i] <= 0xa7) ||
					(code[i] >= 0xaa && code[i] <= 0xaf));
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t count = qemu_plugin_tb_n_insns(tb), first = 0, i;

	(void)id;
	for (i = 0; i < count; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		uint8_t code[16];
		size_t size = qemu_plugin_insn_data(insn, code, sizeof(code));
		uint32_t number;

		if (size == 7 && !memcmp(code, "\x0f\x1f\x80", 3)) {
			memcpy(&number, code + 3, 4);
			if ((number & 0xffff0000u) == MARK)
				qemu_plugin_register_vcpu_insn_exec_cb(insn, mark, NO_REGISTERS,
						(void *)(uintptr_t)(number & 0xffff));
		}
		if (i == count - 1 || is_string(code, size)) {
			struct qemu_plugin_insn *head = qemu_plugin_tb_get_insn(tb, first);
			uint32_t length = i + 1 - first;
			uint32_t g = group(qemu_plugin_insn_vaddr(head), length);
			struct qemu_plugin_u64 counter = { score, 8 * (size_t)g };

			qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(head, INLINE_ADD_U64,
					counter, g ? 1 : length);
			first = i + 1;
		}
	}
}

/* The one argument is the file. */
__attribute__((visibility("default"))) int
qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
	const char *name = argc == 1 ? strchr(argv[0], '=') : NULL;

	(void)info;
	out = name ? fopen(name + 1, "w") : NULL;
	if (!out) {
		fputs("rext4: no file for the counts\n", stderr);
		return 1;
	}
	score = qemu_plugin_scoreboard_new(8 * (size_t)GROUPS);
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
