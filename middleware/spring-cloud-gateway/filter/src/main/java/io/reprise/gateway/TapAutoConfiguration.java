package io.reprise.gateway;

import io.micrometer.core.instrument.binder.MeterBinder;
import org.springframework.boot.autoconfigure.AutoConfiguration;
import org.springframework.boot.autoconfigure.condition.ConditionOutcome;
import org.springframework.boot.autoconfigure.condition.ConditionalOnClass;
import org.springframework.boot.autoconfigure.condition.ConditionalOnMissingBean;
import org.springframework.boot.autoconfigure.condition.SpringBootCondition;
import org.springframework.boot.context.properties.EnableConfigurationProperties;
import org.springframework.cloud.gateway.filter.GlobalFilter;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.ConditionContext;
import org.springframework.context.annotation.Conditional;
import org.springframework.context.annotation.Configuration;
import org.springframework.core.type.AnnotatedTypeMetadata;
import org.springframework.util.StringUtils;

/** Puts the filter into the gateway when {@code reprise.tap.url} is there and not empty. */
@AutoConfiguration
@ConditionalOnClass(GlobalFilter.class)
@Conditional(TapAutoConfiguration.HasUrl.class)
@EnableConfigurationProperties(TapProperties.class)
public class TapAutoConfiguration {
    @Bean
    @ConditionalOnMissingBean
    TapSampler repriseTapSampler(TapProperties properties) {
        return new ShareSampler(properties.sample(), properties.sampleBy());
    }

    @Bean
    Tap repriseTap(TapProperties properties, TapSampler sampler) {
        return new Tap(properties, sampler);
    }

    @Bean
    TapFilter repriseTapFilter(Tap tap, TapProperties properties) {
        return new TapFilter(tap, properties.order());
    }

    /** Is left out without Micrometer. */
    @Configuration(proxyBeanMethods = false)
    @ConditionalOnClass(MeterBinder.class)
    static class Metrics {
        @Bean
        TapMetrics repriseTapMetrics(Tap tap) {
            return new TapMetrics(tap);
        }
    }

    /** An empty URL, as {@code ${TAP_URL:}} makes it, is none. */
    static class HasUrl extends SpringBootCondition {
        @Override
        public ConditionOutcome getMatchOutcome(ConditionContext context, AnnotatedTypeMetadata metadata) {
            boolean has = StringUtils.hasText(context.getEnvironment().getProperty("reprise.tap.url"));
            return new ConditionOutcome(has, has ? "reprise.tap.url is given" : "reprise.tap.url is not given");
        }
    }
}
