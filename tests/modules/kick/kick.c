// SPDX-License-Identifier: GPL-2.0-only
/*
 * Each CPU interrupts the next one ten times a second, whatever is pending there.
 *
 * Now and then QEMU 10.0 forgets to interrupt a CPU that runs beside another: its
 * monitor shows the vector in IRR and nothing that blocks it. Any further
 * interrupt makes up for it, but the kernel sends none where one is on its way.
 */
#include <linux/cpumask.h>
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/smp.h>
#include <linux/timer.h>

static DEFINE_PER_CPU(struct timer_list, kick_timers);

static void kick_next(struct timer_list *timer)
{
	unsigned int cpu = cpumask_next(smp_processor_id(), cpu_online_mask);

	if (cpu >= nr_cpu_ids)
		cpu = cpumask_first(cpu_online_mask);
	arch_smp_send_reschedule(cpu);
	mod_timer(timer, jiffies + HZ / 10);
}

static int __init kick_init(void)
{
	int cpu;

	for_each_online_cpu(cpu) {
		struct timer_list *timer = per_cpu_ptr(&kick_timers, cpu);

		timer_setup(timer, kick_next, TIMER_PINNED);
		timer->expires = jiffies + HZ / 10;
		add_timer_on(timer, cpu);
	}
	return 0;
}
module_init(kick_init);

MODULE_DESCRIPTION("Interrupts that QEMU forgets, for tests of uio_msix");
MODULE_LICENSE("GPL");
