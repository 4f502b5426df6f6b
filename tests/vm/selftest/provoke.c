// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the harness must notice, made to happen for real: "insmod provoke.ko what=warning" and so on. For the tests of
 * the harness only.
 */

#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/string.h>

static char *what = "";
module_param(what, charp, 0);

static int __init provoke_init(void)
{
	if (!strcmp(what, "warning"))
		WARN(1, "provoked\n");
	else if (!strcmp(what, "oops"))
		WRITE_ONCE(*(int *)NULL, 1);
	else if (!strcmp(what, "panic"))
		panic("provoked");
	else if (!strcmp(what, "hang"))
		schedule_timeout_uninterruptible(20 * HZ);
	else
		return -EINVAL;

	return 0;
}

static void __exit provoke_exit(void)
{
}

module_init(provoke_init);
module_exit(provoke_exit);

MODULE_DESCRIPTION("Provokes kernel reports, for the tests of the test harness");
MODULE_LICENSE("GPL");
